"""A driver that never waits for its terminal: one that reads nothing, or slowly, costs frames and no message.

Textual's own waits once 30 writes are not read, and with it everything else: a terminal after XOFF, a dead ssh. Nor
does it notice that its terminal is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from textual.driver import Driver

from wsclient.tui.io.hangup import HangupWatch

MAX_WAITING_CHARS: Final = 64 << 10  # about two full frames


def unhurried(driver: type[Driver], draw_anew: Callable[[], object], on_gone: Callable[[], object]) -> type[Driver]:
    """Return a kind of driver that hands what is written to a thread, and leaves out what is too much.

    Once everything was read, `draw_anew` is called in that thread, to draw the whole screen. `on_gone` is called in
    some thread when the terminal is gone; nothing is written any more then.
    """

    class UnhurriedDriver(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._unwritten: SimpleQueue[str | None] = SimpleQueue()
            self._counting = threading.Lock()
            self._waiting_chars = 0
            self._leaves_out = self._is_ending = self._is_gone = False
            self._hand: threading.Thread | None = None
            self._hangup: HangupWatch | None = None

        def start_application_mode(self) -> None:
            self._is_ending = False
            if getattr(self, "input_tty", False):  # no test's, and none of a browser
                self._hangup = HangupWatch(self.fileno, self._gone)
                self._hangup.start()
            self._hand = threading.Thread(target=self._write_all, name="wsctl-output", daemon=True)
            self._hand.start()
            super().start_application_mode()

        def stop_application_mode(self) -> None:
            self._is_ending = True  # how the terminal was before is not left out
            super().stop_application_mode()
            if self._hangup is not None:
                self._hangup.stop()
                self._hangup = None
            if self._hand is not None:
                self._unwritten.put(None)
                if not self._is_gone:  # else it waits for Textual's own thread, which ended by an error
                    self._hand.join()
                self._hand = None

        def close(self) -> None:
            if not self._is_gone:  # as above
                super().close()

        def run_input_thread(self) -> None:
            with suppress(OSError):  # what some systems say of a terminal that is gone, which the watch tells
                super().run_input_thread()

        def _gone(self) -> None:
            self._is_gone = True
            on_gone()

        def write(self, data: str) -> None:
            if self._is_gone:
                return
            with self._counting:
                if self._waiting_chars > MAX_WAITING_CHARS:
                    self._leaves_out = True
                if self._leaves_out and not self._is_ending:
                    return
                self._waiting_chars += len(data)
            self._unwritten.put(data)

        def _write_all(self) -> None:
            while (data := self._unwritten.get()) is not None and not self._is_gone:
                super().write(data)
                with self._counting:
                    self._waiting_chars -= len(data)
                    has_caught_up = self._leaves_out and not self._waiting_chars
                    self._leaves_out = self._leaves_out and not has_caught_up
                if has_caught_up:
                    draw_anew()

    return UnhurriedDriver

"""A driver that never waits for its terminal: one that reads nothing, or slowly, costs frames and no message.

Textual's own waits once 30 writes are not read, and with it everything else: a terminal after XOFF, a dead ssh.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from textual.driver import Driver

MAX_WAITING_CHARS: Final = 64 << 10  # about two full frames


def unhurried(driver: type[Driver], draw_anew: Callable[[], object]) -> type[Driver]:
    """Return a kind of driver that hands what is written to a thread, and leaves out what is too much.

    Once everything was read, `draw_anew` is called in that thread, to draw the whole screen.
    """

    class UnhurriedDriver(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._unwritten: SimpleQueue[str | None] = SimpleQueue()
            self._counting = threading.Lock()
            self._waiting_chars = 0
            self._leaves_out = self._is_ending = False
            self._hand: threading.Thread | None = None

        def start_application_mode(self) -> None:
            self._is_ending = False
            self._hand = threading.Thread(target=self._write_all, name="wsctl-output", daemon=True)
            self._hand.start()
            super().start_application_mode()

        def stop_application_mode(self) -> None:
            self._is_ending = True  # how the terminal was before is not left out
            super().stop_application_mode()
            if self._hand is not None:
                self._unwritten.put(None)
                self._hand.join()
                self._hand = None

        def write(self, data: str) -> None:
            with self._counting:
                if self._waiting_chars > MAX_WAITING_CHARS:
                    self._leaves_out = True
                if self._leaves_out and not self._is_ending:
                    return
                self._waiting_chars += len(data)
            self._unwritten.put(data)

        def _write_all(self) -> None:
            while (data := self._unwritten.get()) is not None:
                super().write(data)
                with self._counting:
                    self._waiting_chars -= len(data)
                    has_caught_up = self._leaves_out and not self._waiting_chars
                    self._leaves_out = self._leaves_out and not has_caught_up
                if has_caught_up:
                    draw_anew()

    return UnhurriedDriver

"""What signals do to a server: the first asks it to end in order, the second at once, and whatever it does it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, NoReturn

from cli.exits import ExitCode
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.logwriter import LogWriter
from wsserver.telemetry.stalls import running_code

GRACE_S: Final = 0.5  # after the time for a shutdown: for threads of the app, and for the loop to close
AT_ONCE_S: Final = 0.5  # after a second signal
FLUSH_S: Final = 0.3

_STOPS: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_MEANINGLESS: Final = ("SIGUSR1", "SIGUSR2")  # left alone they would end the process without a word
_ITSELF: Final = 0  # in place of a signal's number: the server stops by itself


class StopSignals:
    """Takes the process's signals, and keeps its end within `budget_s` and a little more.

    Python runs a signal's handler on the main thread between two instructions, also while code blocks the event
    loop. It only hands the number over: a thread acts on it, and ends the process if nobody else does in time.
    """

    def __init__(self, budget_s: float, writer: LogWriter) -> None:
        self._budget_s = budget_s
        self._writer = writer
        self._log = EventLog()
        self._received: SimpleQueue[int] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0
        self._on_hangup: Callable[[], object] | None = None
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.has_served = False  # whether what ends is a server, or one that was still starting

    def install(self) -> None:
        """Take the signals from now on; one that whoever started us ignores, as nohup does, stays ignored."""
        for name in (*_STOPS, *_MEANINGLESS):
            number = getattr(signal, name, None)  # Windows has two of them
            if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):
                signal.signal(number, self._on_signal)
        threading.Thread(target=self._keep_time, name="wsctl-signals", daemon=True).start()

    def attach(self, loop: asyncio.AbstractEventLoop, on_hangup: Callable[[], object] | None = None) -> None:
        """Set the events on this loop from now on; before, a signal ends the process at once.

        SIGHUP ends it too, unless `on_hangup` is there to be called on the loop.
        """
        self._on_hangup = on_hangup
        self._loop = loop

    def stop(self) -> None:
        """Begin as if a first signal had come."""
        self._received.put(_ITSELF)

    def exit_now(self, code: ExitCode) -> NoReturn:
        """End the process without waiting for anything but what is still to be written."""
        flushing = threading.Thread(target=_flush_stdout, daemon=True)  # nobody may read what an app has printed
        flushing.start()
        self._writer.settle(FLUSH_S)
        flushing.join(FLUSH_S)
        os._exit(code)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received.put(number)

    def _tell(self) -> None:
        for event, needed in ((self.first, 1), (self.second, 2)):
            if self._count >= needed and self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed: the end is near anyway
                    self._loop.call_soon_threadsafe(event.set)

    def _keep_time(self) -> None:
        deadline_s: float | None = None
        while self._wait(deadline_s):
            if self._loop is None:  # an app is being imported: there is nothing to end in order yet
                self.exit_now(ExitCode.INTERRUPTED)
            self._count += 1
            self._tell()
            deadline_s = time.monotonic() + (self._budget_s + GRACE_S, AT_ONCE_S, 0)[min(self._count, 3) - 1]
        self._log.error("server.abandoned", left=_what_runs())
        in_order = self._count == 1 and self.has_served
        self.exit_now(ExitCode.FAILED if in_order else ExitCode.INTERRUPTED)

    def _wait(self, deadline_s: float | None) -> bool:
        """Wait for the next signal that means something; returns whether it came in time."""
        while True:
            try:
                number = self._received.get(timeout=deadline_s and max(0, deadline_s - time.monotonic()))
            except Empty:
                return False
            if number == _ITSELF:
                if not self._count:
                    return True
            elif (name := signal.Signals(number).name) in _MEANINGLESS:
                self._log.warning("server.signal_ignored", signal=name)
            elif name == "SIGHUP" and self._on_hangup is not None and self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._on_hangup)
            else:
                return True


def _what_runs() -> str:
    frames = sys._current_frames()
    threads = (thread for thread in threading.enumerate() if not thread.daemon and thread.ident in frames)
    return "; ".join(
        f"{thread.name}: {running_code(frames[thread.ident])}" for thread in threads if thread.ident is not None
    )


def _flush_stdout() -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()

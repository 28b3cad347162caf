"""The worker processes of `--processes`: copies of this one, made before it has a loop, a hub or a socket."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

import gevent

from wscore.text import describe

STEP_S: Final = 0.02


class Child:
    """One worker; it waits until it is told the port of its master."""

    def __init__(self, work: Callable[[int], int]) -> None:
        reading, self._writing = os.pipe()
        self._is_running = True
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._writing)
            _run_in_child(reading, work)
        os.close(reading)

    def start(self, port: int) -> None:
        """Let it begin."""
        os.write(self._writing, str(port).encode())
        self.dismiss()

    def dismiss(self) -> None:
        """Let it end, if it has not begun."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1

    def is_running(self) -> bool:
        """Tell whether it is still there."""
        if self._is_running:
            self._is_running = os.waitpid(self._pid, os.WNOHANG)[0] == 0
        return self._is_running

    def end(self, timeout_s: float) -> None:
        """Wait for its end, but not for ever."""
        self.dismiss()
        deadline = time.monotonic() + timeout_s
        while self.is_running() and time.monotonic() < deadline:
            gevent.sleep(STEP_S)
        if self.is_running():
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._is_running = False


def _run_in_child(reading: int, work: Callable[[int], int]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the master tells it when to end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        port = os.read(reading, 16)
        code = work(int(port)) if port else 0
    except BaseException as error:
        sys.stderr.write(f"internal error: {describe(error)}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)

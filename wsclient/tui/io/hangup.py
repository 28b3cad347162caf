"""Tells when the terminal is gone: its window closed, its ssh dead, and no SIGHUP came that would have ended us.

Reading from such a terminal returns nothing, again and again; a driver that goes on reading takes a third of a core.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable


class HangupWatch:
    """Calls `tell` once, in a thread of its own, when the terminal `descriptor` hangs up."""

    def __init__(self, descriptor: int, tell: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._tell = tell
        self._reads_stop, self._writes_stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="wsctl-hangup", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, without a call if there was none yet."""
        os.close(self._writes_stop)
        self._thread.join()
        os.close(self._reads_stop)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, 0)  # keys are not our business; a hang-up is told all the same
        poll.register(self._reads_stop, 0)
        for descriptor, event in poll.poll():
            if descriptor == self._descriptor and event & (select.POLLHUP | select.POLLERR):
                self._tell()

"""Says when no file descriptor is left: the kernel then turns newcomers away, and uvloop keeps silent about it."""

from __future__ import annotations

import errno
import os
from typing import Final

from wsserver.logs import EventLog

INTERVAL_S: Final = 1.0


class DescriptorWatch:
    """The server's tick calls `check`; it looks once a second at most, and so it logs."""

    __slots__ = ("_log", "_next_s")

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._next_s = 0.0

    def check(self, now_s: float) -> None:
        """Try to open a file; log when that is no longer possible. `now_s` is monotonic seconds."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # anything else says nothing about descriptors
                self._log.warning("server.descriptors", problem=os.strerror(error.errno))

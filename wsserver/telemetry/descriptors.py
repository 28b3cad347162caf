"""Says when no file descriptor is left: the kernel then turns newcomers away, and uvloop keeps silent about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from wscore.text import system_words
from wsserver.telemetry.logs import EventLog

INTERVAL_S: Final = 1.0


class DescriptorWatch:
    """The server's tick calls `check`; it looks once a second at most, and so it logs. `now_s` is monotonic."""

    __slots__ = ("_log", "_next_s", "_now_s")

    def __init__(self, log: EventLog, now_s: Callable[[], float]) -> None:
        self._log = log
        self._now_s = now_s
        self._next_s = 0.0

    def check(self) -> None:
        """Try to open a file; log when that is no longer possible."""
        now_s = self._now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # anything else says nothing about descriptors
                self._log.warning("server.descriptors", problem=system_words(error))


def descriptor_limit() -> int | None:
    """Return how many files this process may open; None where the system has no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft

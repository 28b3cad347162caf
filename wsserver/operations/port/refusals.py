"""Who was kept out, in the log once a second at most: whoever tries keys, or all connections, makes no log of it."""

from __future__ import annotations

import asyncio
from typing import Final

from wscore.operations import ApiErrorCode
from wsserver.telemetry.logs import EventLog

PAUSE_S: Final = 1.0


class Refusals:
    """Logs `ops.refused` with the last of them, and how many there were since the line before."""

    __slots__ = ("_count", "_log", "_next_s")

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._count = 0
        self._next_s = 0.0

    def add(self, peer: str, code: ApiErrorCode) -> None:
        """Note one from an address."""
        self._count += 1
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_s:
            self._log.warning("ops.refused", peer=peer, code=code.value, count=self._count)
            self._next_s, self._count = now_s + PAUSE_S, 0

"""Tells in the log what was dropped before it became a connection: a flood of it is one line from time to time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics, PendingDrop

INTERVAL_S: Final = 10.0
# By the field of the log line.
_REASONS: Final = {
    "handshakes_dropped": PendingDrop.CROWD,
    "connections_over_rate": PendingDrop.RATE,
    "proxy_headers_refused": PendingDrop.PROXY_HEADER,
}


class DropWatch:
    """The server's tick calls `check`; it logs at once when something was dropped, then at most every ten seconds.

    `now_s` is monotonic.
    """

    __slots__ = ("_counters", "_log", "_next_s", "_now_s", "_told")

    def __init__(self, metrics: Metrics, log: EventLog, now_s: Callable[[], float]) -> None:
        self._counters = {field: metrics.pending_dropped[reason] for field, reason in _REASONS.items()}
        self._log = log
        self._now_s = now_s
        self._next_s = 0.0
        self._told = dict.fromkeys(_REASONS, 0)

    def check(self) -> None:
        """Log what was dropped since the last time, unless that was just now."""
        if self._now_s() >= self._next_s:
            self.tell()

    def tell(self) -> None:
        """Log what was dropped since the last time, if anything was."""
        counts = {field: counter.value for field, counter in self._counters.items()}
        if counts != self._told:
            self._next_s = self._now_s() + INTERVAL_S
            fresh = {name: count - self._told[name] for name, count in counts.items()}
            self._told = counts
            self._log.warning("connections.dropped", **{name: count for name, count in fresh.items() if count})

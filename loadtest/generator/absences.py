"""Connections that are missing: since when, and how much of the window they missed."""

from __future__ import annotations

from loadtest.generator.messages import Window


class Absences:
    """The slots of one process whose connection failed or was lost; times are ns of one clock."""

    __slots__ = ("_since_ns", "_total_ns")

    def __init__(self) -> None:
        self._since_ns: dict[int, int] = {}
        self._total_ns = 0

    def __contains__(self, slot: int) -> bool:
        return slot in self._since_ns

    def begin(self, slot: int, now_ns: int) -> None:
        """Note that a slot has no connection."""
        self._since_ns.setdefault(slot, now_ns)

    def end(self, slot: int, now_ns: int, window: Window) -> None:
        """Note that a slot has one again, or that none is wanted any more."""
        since_ns = self._since_ns.pop(slot, None)
        if since_ns is not None:
            self._total_ns += _overlap(since_ns, now_ns, window)

    def total_ns(self, now_ns: int, window: Window) -> int:
        """Return how long slots went without a connection within the window, all together."""
        return self._total_ns + sum(_overlap(since_ns, now_ns, window) for since_ns in self._since_ns.values())


def _overlap(since_ns: int, now_ns: int, window: Window) -> int:
    return max(0, min(now_ns, window.end_ns) - max(since_ns, window.start_ns))

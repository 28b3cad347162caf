"""Time in which the generator itself ran: what a server owes is not counted while nobody looked."""

from __future__ import annotations

from typing import Final

from loadtest.ledger import NEVER
from wscore.heartbeat import STALL_MS

_STALL_NS: Final = STALL_MS * 1_000_000


class OwnTime:
    """Monotonic ns less what the loop stood still for, told by a timer of its own; all that waited then comes at once.

    Frames may be read before that timer fires, so a stall that is not over for it yet is left out too.
    """

    __slots__ = ("_due_ns", "_lost_ns")

    def __init__(self) -> None:
        self._due_ns = NEVER
        self._lost_ns = 0

    def at(self, now_ns: int) -> int:
        """Return what `now_ns` of the monotonic clock is in own time."""
        return now_ns - self._lost_ns - self._late_ns(now_ns)

    def woke(self, now_ns: int, next_due_ns: int) -> None:
        """Note that the timer fired, and when it is due again."""
        self._lost_ns += self._late_ns(now_ns)
        self._due_ns = next_due_ns

    def _late_ns(self, now_ns: int) -> int:
        late_ns = now_ns - self._due_ns
        return late_ns if late_ns > _STALL_NS else 0

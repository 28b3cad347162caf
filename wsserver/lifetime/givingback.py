"""Has freed memory go back to the system: much of it within a second, the rest once nobody has needed it for a while.

To give back takes a millisecond or several of the event loop, so it is not done for trifles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from wsserver.outbound.memory import Held, give_back

INTERVAL_S: Final = 1.0
MUCH_BYTES: Final = 16 << 20
SOME_BYTES: Final = 4 << 20
REST_S: Final = 5.0
CONNECTION_BYTES: Final = 9 << 10  # what one takes that does nothing (docs/performance.md)


class Sampled(Held):
    """What is held by something that keeps no count of its peak: seen once a second."""

    __slots__ = ("_size", "peak", "used")

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self.used = self.peak = 0

    def look(self) -> None:
        """Take down how much it is now."""
        self.used = self._size()
        self.peak = max(self.peak, self.used)


class GivingBack:
    """Compares what is held with what it was; the server's tick calls `check`. `now_s` is the monotonic clock.

    `sampled` return how many bytes are held of other things.
    """

    __slots__ = ("_holders", "_next_s", "_now_s", "_sampled", "_since_s")

    def __init__(
        self, holders: Sequence[Held], sampled: Sequence[Callable[[], int]], now_s: Callable[[], float]
    ) -> None:
        self._sampled = tuple(Sampled(size) for size in sampled)
        self._holders = (*holders, *self._sampled)
        self._now_s = now_s
        self._next_s = 0.0
        self._since_s: float | None = None  # when it was found that some was free; None while there is too little

    def check(self) -> None:
        """Once a second give back what was freed, if that is much, or has not been in use again for five seconds."""
        now_s = self._now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        for sampled in self._sampled:
            sampled.look()
        free = sum([holder.fallen for holder in self._holders])
        if free < SOME_BYTES:
            self._since_s = None
        elif free >= MUCH_BYTES or (self._since_s is not None and now_s - self._since_s >= REST_S):
            self._since_s = None
            for holder in self._holders:
                holder.settle()
            give_back()
        elif self._since_s is None:
            self._since_s = now_s

"""What counts: plain integers, by labels of which no client can make any; to count costs what adding to an int costs.

Whoever counts often looks its counter up beforehand and adds to its `value`. Nothing is kept in another form: a scrape
reads the numbers where they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

OTHER: Final = "other"  # the label of whatever has none of its own
# What a time is sorted into, in seconds: up to each of these, and beyond the last.
BOUNDS_S: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Key = str | tuple[str, ...]


class Counter:
    """A number that only grows: to count is to add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class MessageCounter(Counter):
    """Messages, and the bytes that they are in all: where each counts, both are added to in place."""

    __slots__ = ("octets",)

    def __init__(self) -> None:
        super().__init__()
        self.octets = 0

    def add(self, octets: int, times: int = 1) -> None:
        """Count a message of so many bytes, or several of that size."""
        self.value += times
        self.octets += octets * times


class Histogram:
    """How long something took: how often up to each of the bounds, and all together, in seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Yield each bound, as Prometheus writes it, and how often it took no longer than that."""
        count = 0
        for bound, here in zip((*map(str, BOUNDS_S), "+Inf"), self.counts, strict=True):
            count += here
            yield bound, count


C = TypeVar("C", bound=Counter | Histogram)


class Labelled(dict[Key, C], Generic[C]):
    """Counters by the value of a label, or by the values of several.

    Each of `known` has its counter from the start on, and those that `know` names; the first values beyond get theirs
    while there is `room`. The rest is counted together: its last value becomes OTHER.
    """

    __slots__ = ("_new", "_room")

    def __init__(self, new: Callable[[], C], known: Iterable[Key] = (), *, room: int = 0) -> None:
        super().__init__((key, new()) for key in known)
        self._new = new
        self._room = room

    def __missing__(self, key: Key) -> C:
        if self._room:
            self._room -= 1
            return self.know(key)
        return self.know(OTHER if isinstance(key, str) else (*key[:-1], OTHER))

    def know(self, key: Key) -> C:
        """Return a counter of its own for a value that no client can choose."""
        return self.setdefault(key, self._new())

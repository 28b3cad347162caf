"""Which entries of the ring are shown: the filter's choice, frozen while paused, by position."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from wsclient.tui.model.ring import Entry, MessageRing


class FilteredView:
    """The numbers of the entries that pass a predicate, in order; positions count from 0 over what is left.

    The stream reads it by position; `catch_up` takes in what the ring got since, `freeze` stops that.
    """

    def __init__(self, ring: MessageRing, passes: Callable[[Entry], bool]) -> None:
        self._ring = ring
        self._passes = passes
        self._numbers: list[int] = []
        self._start = 0
        self._seen = ring.first
        self.is_frozen = False

    def __len__(self) -> int:
        return len(self._numbers) - self._start

    def entry(self, position: int) -> Entry | None:
        """Return the entry at a position, or None outside of the view."""
        return self._ring.get(self._numbers[self._start + position]) if 0 <= position < len(self) else None

    def position(self, number: int) -> int:
        """Return the position of an entry, or of the next one after it."""
        return bisect_left(self._numbers, number, self._start) - self._start

    @property
    def waiting(self) -> int:
        """How many entries came since the last `catch_up`."""
        return self._ring.count - self._seen

    def change(self, passes: Callable[[Entry], bool]) -> None:
        """Choose anew with another predicate, from all that the ring has up to what was seen."""
        seen = self._seen
        self._passes = passes
        self._numbers, self._start, self._seen = [], 0, self._ring.first
        self._take(seen)

    def catch_up(self) -> tuple[int, int]:
        """Take in what came, unless frozen; returns how many rows were added at the end and lost at the start."""
        added = 0 if self.is_frozen else self._take(self._ring.count)
        lost = bisect_left(self._numbers, self._ring.first, self._start) - self._start
        self._start += lost
        if self._start > len(self._numbers) // 2:
            del self._numbers[: self._start]
            self._start = 0
        return added, lost

    def _take(self, until: int) -> int:
        before = len(self._numbers)
        for number in range(max(self._seen, self._ring.first), until):
            entry = self._ring.get(number)
            if entry is not None and self._passes(entry):
                self._numbers.append(number)
        self._seen = max(self._seen, until)
        return len(self._numbers) - before

"""Which rows of the view match what is searched for, and the how-manieth of them the cursor is on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from wsclient.tui.model.filtered import FilteredView
from wsclient.tui.model.ring import Entry


class Matches:
    """The numbers of the rows that match, in order; each row is looked at once, as it comes."""

    def __init__(self, view: FilteredView) -> None:
        self._view = view
        self._matches: Callable[[Entry], bool] | None = None
        self._numbers: list[int] = []
        self._looked_at = 0  # numbers below were

    def search(self, matches: Callable[[Entry], bool] | None) -> None:
        """Look for something else, from the first row on; for nothing if that is None."""
        self._matches = matches
        self._numbers, self._looked_at = [], 0

    def catch_up(self) -> None:
        """Take in the rows that came, and forget those that went."""
        if self._matches is None:
            return
        first = self._view.entry(0)
        del self._numbers[: bisect_left(self._numbers, first.number) if first is not None else len(self._numbers)]
        for position in range(self._view.position(self._looked_at), len(self._view)):
            entry = self._view.entry(position)
            if entry is not None:
                self._looked_at = entry.number + 1
                if self._matches(entry):
                    self._numbers.append(entry.number)

    def __len__(self) -> int:
        return len(self._numbers)

    def place(self, number: int | None) -> int | None:
        """Return which match a row is, from 1; None if it is none."""
        if number is None:
            return None
        index = bisect_left(self._numbers, number)
        return index + 1 if index < len(self._numbers) and self._numbers[index] == number else None

    def next(self, number: int | None, step: int) -> int | None:
        """Return the number of the match after a row, or before it if `step` is -1, around the end; None of none."""
        if not self._numbers:
            return None
        if number is None:
            return self._numbers[0 if step > 0 else -1]
        index = bisect_right(self._numbers, number) if step > 0 else bisect_left(self._numbers, number) - 1
        return self._numbers[index % len(self._numbers)]

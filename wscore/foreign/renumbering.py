"""The ids of requests that are played again: one that was used already becomes another one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wscore.foreign.adapter import Reading

_LEAST: Final = 1_000_000  # no protocol gives such a number to its own first messages


def first_free_id(recorded: Iterable[Reading]) -> int:
    """Return a number above all that are ids of what was recorded."""
    ids = (reading.message.id for reading in recorded if reading.message is not None)
    numbers = (int(id) for id in ids if id is not None and id.isascii() and id.isdigit() and len(id) < 16)
    return max((_LEAST, *(number + 1 for number in numbers)))


class FreshIds:
    """The ids of one connection: those of a recording as they are, but for one that was used before."""

    __slots__ = ("_ids", "_next")

    def __init__(self, first: int) -> None:
        self._ids: dict[str, str] = {}
        self._next = first

    def of(self, recorded: str, *, refers: bool = False) -> str:
        """Return the id in place of a recorded one, the latest in place of that if it `refers` to a request."""
        if recorded not in self._ids or refers:
            return self._ids.setdefault(recorded, recorded)
        self._ids[recorded] = fresh = str(self._next)
        self._next += 1
        return fresh

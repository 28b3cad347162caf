"""How a client counts what a group sends, so that it neither misses nor repeats anything (design section 4)."""

from __future__ import annotations

from enum import Enum

from wscore.recovery import Position


class EventPlace(Enum):
    """Where an event stands in what a client has read of its group."""

    NEXT = "next"  # take it
    SEEN = "seen"  # drop it
    GAP = "gap"  # something is missing before it: ask for what is behind the position held


class EventCounter:
    """How far a client has read one group: its position, epoch and seq, which are only ever set together.

    None until the server has named one; one that keeps no history names none.
    """

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position: Position | None = None

    def begin(self, position: Position, recovered: bool | None) -> bool:
        """Take what the server said of its group, first or since history was lost; returns whether events are.

        `recovered` is its answer to the position that was asked for, None if none was.
        """
        held, self.position = self.position, position
        return recovered is False or (held is not None and held != position)

    def place(self, seq: int | None) -> EventPlace:
        """Tell what to do with an event, and count it if it is the next; one without a seq is always taken."""
        held = self.position
        if seq is None or held is None:
            return EventPlace.NEXT
        if seq <= held.seq:
            return EventPlace.SEEN
        if seq > held.seq + 1:
            return EventPlace.GAP
        self.position = Position(held.epoch, seq)
        return EventPlace.NEXT

"""How far the connections of one slot have read their group, by the seq of its events (design section 4)."""

from __future__ import annotations

from loadtest.generator.connections import Recovery
from loadtest.generator.messages import Counts
from wscore.counting import EventCounter, EventPlace
from wscore.recovery import Position


class GroupReader:
    """The position that is held, over all connections of a slot; `counts` gets what was missed and what came twice."""

    __slots__ = ("_counter", "_counts")

    def __init__(self, counts: Counts) -> None:
        self._counter = EventCounter()
        self._counts = counts

    @property
    def position(self) -> Position | None:
        """What is held; None where the server counts nothing."""
        return self._counter.position

    def begin(self, recovery: Recovery | None) -> bool:
        """Count from where a greeting says, the first or one behind a lost connection; False if it counts nothing."""
        counts, counter = self._counts, self._counter
        held = counter.position
        counts.resumes += held is not None
        if recovery is None or recovery.epoch is None or recovery.seq is None:
            counts.unrecovered += held is not None
            counter.position = None
            return False
        position = Position(str(recovery.epoch), recovery.seq)
        if recovery.recovered is False:
            counts.unrecovered += held is not None
        elif held is not None:
            counts.events_lost += _missing(held, position)  # since nothing was said of them
        counter.begin(position, recovery.recovered)
        return True

    def take(self, seq: int) -> bool:
        """Count an event; False for one that was read already, which a client drops."""
        counts, counter = self._counts, self._counter
        held = counter.position
        if held is None:
            return True
        match counter.place(seq):
            case EventPlace.SEEN:
                counts.events_doubled += 1
                return False
            case EventPlace.GAP:
                counts.events_lost += seq - held.seq - 1
                counter.begin(Position(held.epoch, seq), None)
        counts.events += 1
        return True

    def restart(self, position: Position) -> None:
        """Count from there: the server has said that history is lost."""
        self._counter.begin(position, False)
        self._counts.unrecovered += 1


def _missing(held: Position, position: Position) -> int:
    """Return how many events are at least missing between two positions that should be the same."""
    if held.epoch == position.epoch:
        return abs(position.seq - held.seq)
    return 1

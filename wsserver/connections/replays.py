"""What a newcomer of a group missed: whether all of it is there, and its way to the one that asks (design section 4).

To answer and to send are two calls, for what says that a replay follows to come between; all of it happens in one
turn of the loop, behind the flush of the group: so nothing is both in the replay and live, or in neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from wscore.recovery import Position, ReplayBudget
from wsserver.brokers.base import Broker, GroupKind, KeptEvent
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection
from wsserver.telemetry.metrics import Metrics, Recovered

_LOOK_S: Final = 0.02  # between two looks at whether a connection has read what was replayed before


class RecoveryAnswer(NamedTuple):
    """Where a newcomer begins to count; `recovered`: whether the events follow, None if it did not ask."""

    position: Position
    recovered: bool | None
    events: Sequence[KeptEvent]


class Replays:
    """Answers who names a position, and sends what is behind it.

    While more than `unread_limit` bytes wait for a connection to read, its next replay does not begin.
    """

    __slots__ = ("_broker", "_delivery", "_metrics", "_now_s", "_unread_limit")

    def __init__(
        self, broker: Broker, delivery: Delivery, metrics: Metrics, now_s: Callable[[], float], unread_limit: int
    ) -> None:
        self._broker = broker
        self._delivery = delivery
        self._metrics = metrics
        self._now_s = now_s
        self._unread_limit = unread_limit

    @property
    def is_shared(self) -> bool:
        """Whether a group needs a moment before somebody may come into it, see `Broker.ready`."""
        return self._broker.is_shared

    async def ready(self, kind: GroupKind, name: str, asked: Position | None) -> None:
        """Wait until somebody may come into a group; raises TimeoutError."""
        await self._broker.ready(kind, name, asked)

    async def turn(self, connection: Connection) -> None:
        """Wait until a replay to a connection may begin, or it is gone."""
        # Only who comes back to many rooms ever waits, and an engine tells nobody what a peer has read.
        while connection.is_open and self.must_wait(connection):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)

    def must_wait(self, connection: Connection) -> bool:
        """Tell whether a replay to a connection may not begin yet."""
        return connection.channel.unread > self._unread_limit

    def stands(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands; None where no history is kept."""
        return self._broker.position(kind, name)

    def answer(
        self, connection: Connection, kind: GroupKind, name: str, asked: Position | None
    ) -> RecoveryAnswer | None:
        """Return what a newcomer is told, which may ask for what is behind a position; None with recovery off.

        All is there, or nothing is sent.
        """
        stands = self._broker.position(kind, name)
        if stands is None:
            return None
        if asked is None:
            return RecoveryAnswer(stands, None, ())
        events = self._broker.since(kind, name, asked, connection.origin)
        is_whole = events is not None and self._affords(connection, events)
        self._metrics.recoveries[Recovered.WHOLE if is_whole else Recovered.LOST].value += 1
        if events is None or not is_whole:
            return RecoveryAnswer(stands, False, ())
        return RecoveryAnswer(asked, True, events)

    def send(self, connection: Connection, kind: GroupKind, name: str, events: Sequence[KeptEvent]) -> None:
        """Send the events of an answer."""
        if events:
            self._metrics.replayed.value += len(events)
            self._delivery.replay(connection, kind, name, events)

    def _affords(self, connection: Connection, events: Sequence[KeptEvent]) -> bool:
        if not events:
            return True
        now_s = self._now_s()
        if connection.replay_budget is None:
            connection.replay_budget = ReplayBudget(now_s)
        return connection.replay_budget.take(sum(len(event.payload or b"") for event in events), now_s)

"""Recovery on the wire: what a newcomer is told of its session's history, and what it gets replayed (section 4).

Greeting, replay and registration are one synchronous block behind the flush of the session: what was published before
it is in the replay, what is published after it is delivered, and nothing is in both or in neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from wscore.envelope import MessageProtocol
from wscore.payloads import HistoryLost, SessionRecovery
from wscore.recovery import Position, read_position
from wscore.resume import ResumeTokens
from wsserver.brokers.base import SESSION, Broker, GroupKind, KeptEvent
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection
from wsserver.engines.request import HandshakeRequest
from wsserver.telemetry.metrics import Metrics, Recovered

ASKED_FIELDS = ("epoch", "seq")  # of the query; only with both of them a position is asked for


class GroupRecovery:
    """Tells where groups stand, replays what was missed, and tells members that history is lost."""

    __slots__ = ("_broker", "_delivery", "_metrics", "_protocol", "_tokens")

    def __init__(
        self, broker: Broker, delivery: Delivery, protocol: MessageProtocol, tokens: ResumeTokens, metrics: Metrics
    ) -> None:
        self._broker = broker
        self._delivery = delivery
        self._protocol = protocol
        self._tokens = tokens
        self._metrics = metrics

    def greeting(
        self, connection: Connection, request: HandshakeRequest
    ) -> tuple[SessionRecovery | None, Sequence[KeptEvent]]:
        """Return what the greeting says of recovery, and what is to be replayed behind it.

        Where a resume token is right the connection goes on as its origin. A wrong one is no error: then nothing is
        recovered.
        """
        session = connection.session.name
        stands = self._broker.position(SESSION, session)
        if stands is None:
            return None, ()
        token = request.query("resume")
        is_wrong = False
        if token is not None:
            origin = self._tokens.origin_of(token, connection.principal, session)
            is_wrong = origin is None
            connection.origin = origin or connection.id
        resume_token = self._tokens.mint(connection.principal, session, connection.origin)
        epoch, seq = map(request.query, ASKED_FIELDS)
        if epoch is None or seq is None:
            return SessionRecovery(stands.epoch, stands.seq, resume_token), ()
        asked = None if is_wrong else read_position(epoch, seq)
        events = self._broker.since(SESSION, session, asked, connection.origin)
        if asked is None or events is None:
            self._metrics.recoveries[Recovered.LOST].value += 1
            return SessionRecovery(stands.epoch, stands.seq, resume_token, False), ()
        self._metrics.recoveries[Recovered.WHOLE].value += 1
        return SessionRecovery(*asked, resume_token, True), events

    def replay(self, connection: Connection, events: Sequence[KeptEvent]) -> None:
        """Send the events that a connection missed of its session."""
        if events:
            self._metrics.replayed.value += len(events)
            self._delivery.replay(connection, SESSION, connection.session_id, events)

    def lost(self, kind: GroupKind, name: str, position: Position) -> None:
        """Tell the members of a group that its history was lost."""
        is_session = kind == SESSION
        data = HistoryLost(*position, recovered=False, room=None if is_session else name)
        envelope = self._protocol.create_envelope("recovery", data, name if is_session else None)
        self._delivery.deliver(kind, name, self._protocol.serialize(envelope))

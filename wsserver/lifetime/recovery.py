"""Recovery on the wire: what a newcomer is told of its session's history, and what its members are (section 4)."""

from __future__ import annotations

from wscore.envelope import MessageProtocol
from wscore.payloads import HistoryLost, SessionRecovery
from wscore.recovery import NOWHERE, Position, read_position
from wscore.resume import ResumeTokens
from wsserver.brokers.base import SESSION, GroupKind
from wsserver.connections.delivery import Delivery
from wsserver.connections.replays import RecoveryAnswer, Replays
from wsserver.connections.state import Connection
from wsserver.engines.request import HandshakeRequest


class SessionResume:
    """Reads what a newcomer's handshake says of where it was, and words what its greeting says of that."""

    __slots__ = ("_replays", "_tokens")

    def __init__(self, replays: Replays, tokens: ResumeTokens) -> None:
        self._replays = replays
        self._tokens = tokens

    def answer(self, connection: Connection, request: HandshakeRequest) -> RecoveryAnswer | None:
        """Return what a newcomer is told of its session; None with recovery off.

        Where a resume token is right the connection goes on as its origin. A wrong one is no error: then nothing is
        recovered.
        """
        asked: Position | None = None
        epoch, seq, token = request.query("epoch"), request.query("seq"), request.query("resume")
        if epoch is not None and seq is not None:
            asked = read_position(epoch, seq)
        if token is not None:
            origin = self._tokens.origin_of(token, connection.principal, connection.session_id)
            if origin is not None:
                connection.origin = origin
            elif asked is not None:
                asked = NOWHERE
        return self._replays.answer(connection, SESSION, connection.session_id, asked)

    def greeting(self, connection: Connection, answer: RecoveryAnswer | None) -> SessionRecovery | None:
        """Return what the greeting says."""
        if answer is None:
            return None
        token = self._tokens.mint(connection.principal, connection.session_id, connection.origin)
        return SessionRecovery(*answer.position, token, answer.recovered)

    def replay(self, connection: Connection, answer: RecoveryAnswer | None) -> None:
        """Send what follows the greeting."""
        if answer is not None:
            self._replays.send(connection, SESSION, connection.session_id, answer.events)


class LostHistory:
    """Tells the members of a group that its history was lost."""

    __slots__ = ("_delivery", "_protocol")

    def __init__(self, delivery: Delivery, protocol: MessageProtocol) -> None:
        self._delivery = delivery
        self._protocol = protocol

    def tell(self, kind: GroupKind, name: str, position: Position) -> None:
        """Tell everyone here, in the place from which they count anew."""
        is_session = kind == SESSION
        data = HistoryLost(*position, recovered=False, room=None if is_session else name)
        envelope = self._protocol.create_envelope("recovery", data, name if is_session else None)
        self._delivery.deliver(kind, name, self._protocol.serialize(envelope))

"""A connection's life from its opening to its end; the engines call it (the seed's WebSocketController)."""

from __future__ import annotations

from typing import Any, Final

from wscore.codes import CloseCode, ErrorCode
from wscore.disconnects import (
    BINARY_MESSAGE,
    HEARTBEAT_TIMEOUT,
    INTERNAL_ERROR,
    RATE_LIMIT,
    SLOW_CONSUMER,
    Disconnect,
    DisconnectError,
    disconnect_of,
)
from wscore.envelope import InvalidMessageError, MessageProtocol, readable_id
from wscore.principal import AuthError, Principal
from wsserver.connections.delivery import Delivery
from wsserver.connections.ratelimits import RateLimiter, Refusal
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection, Group
from wsserver.connections.witness import Witness
from wsserver.engines.channel import Channel
from wsserver.engines.request import HandshakeRequest, client_fields
from wsserver.handshake.upgrade import Upgrade
from wsserver.lifetime.calls import AppCalls
from wsserver.lifetime.expiry import ExpiryWatch
from wsserver.lifetime.recovery import SessionResume
from wsserver.lifetime.router import MessageRouter
from wsserver.lifetime.welcome import Welcome
from wsserver.lifetime.wheel import HeartbeatWheel
from wsserver.sdk.requests import Requests
from wsserver.telemetry.counters import OTHER
from wsserver.telemetry.endings import count_end, count_refusal, end_fields, refusal_fields
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Drop, Metrics

# Ends of the server's that a client comes back from, to go on where it was.
COME_BACK: Final = (HEARTBEAT_TIMEOUT, SLOW_CONSUMER)


class WebSocketController:
    """Takes connections in, hands their messages to the router and lets them go (engines' `Gateway`)."""

    holds_back = False

    def __init__(
        self,
        *,
        upgrade: Upgrade,
        connections: ConnectionManager,
        rooms: Rooms,
        delivery: Delivery,
        sender: EnvelopeSender,
        protocol: MessageProtocol,
        router: MessageRouter,
        calls: AppCalls,
        requests: Requests,
        expiry: ExpiryWatch,
        wheel: HeartbeatWheel,
        welcome: Welcome,
        resume: SessionResume,
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._upgrade = upgrade
        self._connections = connections
        self._rooms = rooms
        self._delivery = delivery
        self._sender = sender
        self._protocol = protocol
        self._deserialize = protocol.deserialize
        self._router = router
        self._calls = calls
        self._requests = requests
        self._awaited = requests.waiting  # looked at for each message: empty unless the app asks its clients
        self._expiry = expiry
        self._wheel = wheel
        self._welcome = welcome
        self._resume = resume
        self._now_s = welcome.clock.now_s
        self._metrics = metrics
        self._log = log
        self.witness: Witness | None = None

    def opened(self, request: HandshakeRequest, channel: Channel) -> Connection | None:
        """Take a connection in and greet it with `session_created`, or refuse it with an error and a close code."""
        try:
            principal, session = self._upgrade.admit(request)
        except (DisconnectError, AuthError) as error:
            self.refuse(request, channel, disconnect_of(error))
            return None
        return self.welcome(request, channel, principal, session)

    def welcome(
        self, request: HandshakeRequest, channel: Channel, principal: Principal, session: Group, state: Any = None
    ) -> Connection:
        """Register a connection that is let in and greet it; `state` is what the app keeps of it already."""
        connection = self._welcome.connection(principal, session, channel, request.client_ip, self._wheel.now_s)
        connection.state = state
        self._delivery.flush(session)  # what was sent before it came is not for it
        self._connections.register(connection)
        self._wheel.add(connection)
        self._metrics.opened.value += 1
        self._log.info(
            "connection.opened",
            connection=connection.id,
            user=principal.user_id,
            session=session.name,
            **client_fields(request, channel.peer_ip),
        )
        if self.witness is not None:
            self.witness.opened(connection)
        try:
            answer = self._resume.answer(connection, request)
            recovery = self._resume.greeting(connection, answer)
            self._sender.send(connection, "session_created", self._welcome.greeting(connection, recovery))
            self._resume.replay(connection, answer)
            self._expiry.watch(connection)
            self._calls.connected(connection)
        except BaseException:
            # The engine does not know the connection yet: nobody else would let it go.
            self.closed(connection, INTERNAL_ERROR.close_code, "", INTERNAL_ERROR)
            raise
        return connection

    def text(self, connection: Connection, payload: bytes) -> None:
        """Handle one text message."""
        connection.last_seen_s = self._wheel.now_s
        if not connection.is_open:
            return
        limiter = connection.limiter
        # Functions that are attributes are read apart from their call: Python 3.11 looks for a method first otherwise.
        now, deserialize = self._now_s, self._deserialize
        if limiter is not None and not limiter.admits(len(payload), now_s := now()):
            self._over_rate(connection, limiter, payload, now_s)
            return
        try:
            envelope = deserialize(payload)
        except InvalidMessageError as error:
            self._metrics.received[OTHER].add(len(payload))
            self._sender.error(connection, ErrorCode.INVALID_MESSAGE, error.reason, id=error.request_id)
            return
        if self._awaited and self._requests.deliver(connection.id, envelope):
            self._metrics.received[envelope.type].add(len(payload))
            return
        self._router.route(connection, envelope, len(payload))

    def binary(self, connection: Connection, payload: bytes) -> None:
        """Refuse a binary message: no feature speaks binary yet."""
        self._delivery.close(connection, BINARY_MESSAGE)

    def control(self, connection: Connection) -> bool:
        """Note a ping or pong frame; returns whether a ping deserves its pong."""
        connection.last_seen_s = self._wheel.now_s
        limiter = connection.limiter
        if limiter is not None and not limiter.admits(0, now_s := self._now_s()):
            self._over_rate(connection, limiter, b"", now_s)
            return False
        return True

    def slow(self, connection: Connection) -> None:
        """Close a connection that reads too slowly."""
        self._delivery.close_slow(connection)

    def closed(self, connection: Connection, code: int, reason: str, disconnect: Disconnect | None) -> None:
        """Forget a connection. `code` and `reason` are the peer's; `disconnect` counts if we closed first."""
        connection.is_open = False
        connection.is_lost = disconnect in COME_BACK if disconnect is not None else code == CloseCode.ABNORMAL
        self._connections.unregister(connection.id)
        self._rooms.leave_all(connection)
        if self._awaited:
            self._requests.leave(connection.id)
        self._upgrade.leave(connection.principal, connection.client_ip)
        self._wheel.remove(connection)
        self._expiry.forget(connection)
        self._calls.disconnected(connection, by_shutdown=self._upgrade.draining)
        if self.witness is not None:
            self.witness.closed(connection, code, disconnect)
        count_end(self._metrics, code, disconnect)
        self._log.info(
            "connection.closed",
            connection=connection.id,
            user=connection.principal.user_id,
            **end_fields(code, reason, disconnect),
        )

    def _over_rate(self, connection: Connection, limiter: RateLimiter, payload: bytes, now_s: float) -> None:
        self._metrics.dropped[Drop.RATE_LIMIT].value += 1
        refusal = limiter.refuse(now_s)
        if refusal is Refusal.CLOSE:
            self._delivery.close(connection, RATE_LIMIT)
            return
        request_id = readable_id(payload)
        if request_id is None and refusal is Refusal.DROP:
            return
        retry_after_ms = limiter.retry_after_ms(len(payload), now_s)
        self._sender.error(
            connection,
            ErrorCode.RATE_LIMITED,
            "Too many messages or bytes a second; it was dropped.",
            id=request_id,
            details=None if retry_after_ms is None else {"retryAfterMs": retry_after_ms},
        )

    def refuse(
        self,
        request: HandshakeRequest,
        channel: Channel,
        refusal: DisconnectError,
        details: dict[str, object] | None = None,
    ) -> None:
        """Turn a connection away, with an error first where its disconnect has one; `details` go with that.

        Raises UnsendableError or TypeError, and has done nothing, for texts and details that cannot be sent.
        """
        disconnect = refusal.disconnect
        payload = b""
        if disconnect.error is not None:
            envelope = self._protocol.create_error_envelope(disconnect.error, disconnect.reason, details=details)
            payload = self._protocol.serialize(envelope)
        count_refusal(self._metrics, refusal, len(payload))
        self._log.info("connection.refused", **client_fields(request, channel.peer_ip), **refusal_fields(refusal))
        if payload:
            channel.send_text(payload)
        channel.close(disconnect)

"""The connections of the other processes that share the broker: what the hub asks for is done where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from wscore.disconnects import app_disconnect
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, OutboundEnvelope
from wscore.guest import is_guest_id
from wscore.principal import Principal
from wscore.revocations import Revocation, RevokedEntry
from wscore.rooms import RoomAccess
from wsserver.brokers.base import ROOM, Broker
from wsserver.connections.delivery import Delivery
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.revoking import Revoking
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.connections.users import User
from wsserver.sdk.background import BackgroundTasks
from wsserver.sdk.orders import Ask, CloseOrder, Found, Join, Kick, Leave, Order, Reply, Revoke, Send, pack, unpack
from wsserver.sdk.requests import ConnectionGoneError, Requests
from wsserver.telemetry.counters import Counter
from wsserver.telemetry.metrics import Metrics

FOUND_S: Final = 2.0  # whoever has a connection says so by then


class Elsewhere:
    """Hands orders to all other processes, since nobody knows which has a connection, and carries theirs out here.

    Where nothing is shared there is nobody else, and every connection that is not here is gone.
    """

    __slots__ = (
        "_background",
        "_broker",
        "_connections",
        "_delivery",
        "_errors",
        "_finding",
        "_protocol",
        "_requests",
        "_revoking",
        "_rooms",
        "_sender",
        "_sent",
        "_unreadable",
    )

    def __init__(
        self,
        protocol: MessageProtocol,
        broker: Broker,
        delivery: Delivery,
        sender: EnvelopeSender,
        connections: ConnectionManager,
        rooms: Rooms,
        revoking: Revoking,
        background: BackgroundTasks,
        requests: Requests,
        metrics: Metrics,
    ) -> None:
        self._protocol = protocol
        self._broker = broker
        self._delivery = delivery
        self._sender = sender
        self._connections = connections
        self._rooms = rooms
        self._revoking = revoking
        self._background = background
        self._requests = requests
        self._finding: dict[str, asyncio.Future[None]] = {}
        self._errors = metrics.errors
        self._sent = metrics.sent
        self._unreadable: Counter = metrics.unreadable_orders
        broker.attach_orders(self.take)

    def may_have(self, connection_id: str) -> bool:
        """Whether a connection that is not here may be elsewhere."""
        return self._broker.is_shared and not self._connections.has_ended(connection_id)

    def send(
        self, connection_id: str, envelope: OutboundEnvelope, *, lossy: bool = False, error: str | None = None
    ) -> bool:
        """Send to a connection, perhaps an `error` of that code; returns whether that is on its way."""
        payload = self._protocol.serialize(envelope)
        return self._ordered(envelope.type, payload, Send(connection_id, payload, lossy, error))

    def close(self, connection_id: str, code: int, reason: str) -> bool:
        """Close a connection; returns whether the order is on its way."""
        return self._order(CloseOrder(connection_id, code, reason))

    def join(self, room: str, connection: str | None, user: User | None, access: RoomAccess, *, is_found: bool) -> None:
        """Put into a room who is wanted and may be elsewhere; `is_found` if somebody is here."""
        if self._is_wanted(connection, is_found):
            self._order(Join(room, connection, self._group(user), access))

    def leave(self, room: str, connection: str | None, user: User | None, reason: str, *, is_found: bool) -> None:
        """Take out of a room who is wanted and may be elsewhere; `is_found` if somebody is here."""
        if self._is_wanted(connection, is_found):
            self._order(Leave(room, connection, self._group(user), reason))

    def kick(self, user: User, code: int, reason: str) -> int:
        """Close all connections of a user, here and elsewhere; returns how many there were here."""
        named = (user.user_id, user.is_guest) if isinstance(user, Principal) else (user, is_guest_id(user))
        order = Kick(*named, code, reason)
        self._order(order)
        return self._kick(order)

    async def revoke(self, revocation: Revocation) -> int:
        """Revoke here and elsewhere; returns until when, in ms since the epoch."""
        entry, expires_at_ms = await self._revoking.revoke(revocation)
        self._order(Revoke(*entry))  # they would find it in the store, a moment later
        return expires_at_ms

    def _is_wanted(self, connection: str | None, is_found: bool) -> bool:
        return self._broker.is_shared if connection is None else not is_found and self.may_have(connection)

    def _group(self, user: User | None) -> str | None:
        return None if user is None else self._connections.user_group(user)

    def _ordered(self, type: str, payload: bytes, order: Order) -> bool:
        """Have a message sent by whoever can; returns whether that is on its way, and then counts it."""
        is_sent = self._order(order)
        if is_sent:
            self._sent[type].add(len(payload))
        return is_sent

    def _order(self, order: Order, process: str | None = None) -> bool:
        """Give an order to all others, or to one; returns whether it is on its way."""
        return self._broker.order(pack(order), process)

    async def request(self, connection_id: str, envelope: OutboundEnvelope, timeout_s: float) -> Envelope:
        """Send to a connection and return its reply, which has the envelope's id.

        Raises ConnectionGoneError if no process has it, or it goes before it has answered, and TimeoutError.
        """
        assert envelope.id is not None
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finding[envelope.id] = found
        try:
            with self._requests.awaited(connection_id, envelope.id) as (_, reply):
                payload = self._protocol.serialize(envelope)
                order = Ask(connection_id, payload, self._broker.process, timeout_s)
                if not self._ordered(envelope.type, payload, order):
                    raise ConnectionGoneError(connection_id)
                async with asyncio.timeout(timeout_s):
                    await asyncio.wait((found, reply), timeout=FOUND_S, return_when=asyncio.FIRST_COMPLETED)
                    if not found.done() and not reply.done():
                        raise ConnectionGoneError(connection_id)
                    return await reply
        finally:
            del self._finding[envelope.id]

    async def join_when_ready(self, wanted: Sequence[Connection], room: str, access: RoomAccess) -> None:
        """Put connections of this process into a room, once it is level with the other processes."""
        await self._broker.ready(ROOM, room)
        for member in wanted:
            self._rooms.join(member, room, access, placed=True)

    def take(self, packed: bytes) -> None:
        """Carry out the order of another process."""
        try:
            order = unpack(packed)
            act = _ACTS[type(order)]
            act(self, order)
        except (msgspec.DecodeError, InvalidMessageError):
            self._unreadable.value += 1

    def _send(self, order: Send) -> None:
        connection = self._connections.get(order.connection)
        if connection is not None and self._pass_on(connection, order.payload, lossy=order.lossy) and order.error:
            self._errors[order.error].value += 1

    def _ask(self, order: Ask) -> None:
        connection = self._connections.get(order.connection)
        if connection is not None and connection.is_open:
            self._background.spawn(self._answer(connection, order), "hub.request")

    async def _answer(self, connection: Connection, order: Ask) -> None:
        request_id = self._protocol.deserialize(order.payload).id or ""
        self._order(Found(request_id), order.process)
        with self._requests.awaited(connection.id, request_id) as (_, reply):
            self._pass_on(connection, order.payload)
            try:
                async with asyncio.timeout(order.timeout_s):
                    payload: bytes | None = self._protocol.serialize(await reply)
            except TimeoutError:
                return  # whoever has asked waits no longer either
            except ConnectionGoneError:
                payload = None
        self._order(Reply(connection.id, payload), order.process)

    def _found(self, order: Found) -> None:
        found = self._finding.get(order.request_id)
        if found is not None and not found.done():
            found.set_result(None)

    def _reply(self, order: Reply) -> None:
        if order.payload is None:
            self._requests.leave(order.connection)
        else:
            self._requests.deliver(order.connection, self._protocol.deserialize(order.payload))

    def _close(self, order: CloseOrder) -> None:
        connection = self._connections.get(order.connection)
        if connection is not None and connection.is_open:
            self._delivery.close(connection, app_disconnect(order.code, order.reason))

    def _kick(self, order: Kick) -> int:
        disconnect = app_disconnect(order.code, order.reason)
        closed = 0
        for connection in self._connections.all():
            principal = connection.principal
            if connection.is_open and (principal.user_id, principal.is_guest) == (order.user_id, order.is_guest):
                self._delivery.close(connection, disconnect)
                closed += 1
        return closed

    def _revoke(self, order: Revoke) -> None:
        self._revoking.take((RevokedEntry(order.key, order.issued_before_ms, order.until_ms),))

    def _join(self, order: Join) -> None:
        wanted = list(self._wanted(order.connection, order.user))
        if wanted:
            self._background.spawn(self.join_when_ready(wanted, order.room, order.access), "hub.join")

    def _leave(self, order: Leave) -> None:
        for member in self._wanted(order.connection, order.user):
            self._rooms.leave(member, order.room, reason=order.reason)

    def _wanted(self, connection: str | None, user: str | None) -> Iterable[Connection]:
        if user is not None:
            return self._connections.by_user_group(user)
        found = self._connections.get(connection or "")
        return () if found is None else (found,)

    def _pass_on(self, connection: Connection, payload: bytes, *, lossy: bool = False) -> bool:
        envelope = self._protocol.deserialize(payload)
        data = envelope.data if envelope.data else msgspec.UNSET
        return self._sender.send(connection, envelope.type, data, id=envelope.id, lossy=lossy)


_ACTS: Final[dict[type[Order], Callable[[Elsewhere, Any], object]]] = {
    Send: Elsewhere._send,
    Ask: Elsewhere._ask,
    Found: Elsewhere._found,
    Reply: Elsewhere._reply,
    CloseOrder: Elsewhere._close,
    Kick: Elsewhere._kick,
    Join: Elsewhere._join,
    Leave: Elsewhere._leave,
    Revoke: Elsewhere._revoke,
}

"""Messages out, as the server's own rooms and an app's code send them (the seed's sendMessage and broadcast)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from wscore.codes import CloseCode, ErrorCode
from wscore.disconnects import app_disconnect
from wscore.envelope import MessageProtocol
from wscore.message import Message, message_of, read_message
from wscore.messages import UNCOUNTED_TYPES
from wscore.revocations import Revocation
from wscore.rooms import RoomAccess
from wsserver.brokers.base import ROOM, SESSION, USER, Broker, GroupKind, PublishResult
from wsserver.connections.delivery import Delivery
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.revoking import Revoking
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.connections.users import User
from wsserver.sdk.background import BackgroundTasks
from wsserver.sdk.declared import DeclaredTypes
from wsserver.sdk.elsewhere import Elsewhere
from wsserver.sdk.errors import AppErrorCode, meaning_of
from wsserver.sdk.requests import ConnectionGoneError, Requests, new_request_id
from wsserver.sdk.resources import Resources
from wsserver.sdk.sendable import SendableTypes, check_close, check_id, check_room, check_slice
from wsserver.telemetry.counters import MessageCounter
from wsserver.telemetry.metrics import Metrics

HISTORY_LIMIT: Final = 100

P = ParamSpec("P")
T = TypeVar("T")


class Hub:
    """Sends to connections, sessions, rooms and users. Calls return at once; what they send keeps its order.

    `data` may be any JSON value, a msgspec Struct, a dataclass, or a raw slice. What a receiver could not read is
    refused at the call: UnsendableError, a ValueError, for a type, an id, a room or data that cannot be sent, and
    TypeError for data of a type that JSON does not have. For a connection that is gone nothing is looked
    at, and nothing raised.

    All calls belong on the server's event loop: another thread goes through `from_thread`.
    """

    __slots__ = (
        "_background",
        "_broker",
        "_connections",
        "_declared",
        "_delivery",
        "_elsewhere",
        "_new_state",
        "_protocol",
        "_requests",
        "_resources",
        "_rooms",
        "_sender",
        "_types",
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
        resources: Resources,
        requests: Requests,
        new_state: Callable[[], Any],
        declared: DeclaredTypes | None,
        metrics: Metrics,
    ) -> None:
        self._protocol = protocol
        self._broker = broker
        self._delivery = delivery
        self._sender = sender
        self._connections = connections
        self._rooms = rooms
        self._background = background
        self._resources = resources
        self._requests = requests
        self._elsewhere = Elsewhere(
            protocol, broker, delivery, sender, connections, rooms, revoking, background, requests, metrics
        )
        self._new_state = new_state
        self._declared = declared
        self._types = SendableTypes(metrics.sent)

    def publish(
        self,
        type: str,
        data: object = msgspec.UNSET,
        *,
        session: str | None = None,
        room: str | None = None,
        user: User | None = None,
        user_id: str | None = None,
        lossy: bool = False,
        except_connection: str | None = None,
    ) -> PublishResult:
        """Publish a message to every connection of a session, of a room or of a user: of one of the three.

        A `user` is named by a Principal or a user id. `user_id` tells the receivers who sent it; a slow reader may miss
        a `lossy` one; `except_connection` is the id of one that gets nothing. Returns where the message stands in its
        group; how many receive it nobody knows. Raises UnsendableError also for a room that cannot be, TypeError for no
        target or more than one.
        """
        published = self._check(type, data)
        kind, name = self._target(session, room, user)
        envelope = self._protocol.create_envelope(type, data, session, room=room, user_id=user_id)
        payload = self._protocol.serialize(envelope)
        result = self._broker.publish(
            kind,
            name,
            payload,
            lossy=lossy,
            recoverable=not lossy and type not in UNCOUNTED_TYPES,
            except_connection=except_connection,
            except_origin=except_connection and self._connections.origin_of(except_connection),
        )
        published.add(len(payload))
        return result

    async def published(
        self,
        type: str,
        data: object = msgspec.UNSET,
        *,
        session: str | None = None,
        room: str | None = None,
        user: User | None = None,
        user_id: str | None = None,
        except_connection: str | None = None,
    ) -> PublishResult:
        """Publish as `publish` does, and return once the broker has the message, with its place."""
        published = self._check(type, data)
        kind, name = self._target(session, room, user)
        envelope = self._protocol.create_envelope(type, data, session, room=room, user_id=user_id)
        payload = self._protocol.serialize(envelope)
        result = await self._broker.published(
            kind,
            name,
            payload,
            recoverable=type not in UNCOUNTED_TYPES,
            except_connection=except_connection,
            except_origin=except_connection and self._connections.origin_of(except_connection),
        )
        published.add(len(payload))
        return result

    async def history(
        self,
        *,
        session: str | None = None,
        room: str | None = None,
        limit: int = HISTORY_LIMIT,
        before: int | None = None,
    ) -> list[Message]:
        """Return the last messages of a session or a room that are kept for who comes back, the oldest first.

        At most `limit`, of those whose seq is below `before`. Raises UnsendableError for a room that cannot be,
        TypeError for no target or both.
        """
        kind, name = self._target(session, room, None)
        kept = await self._broker.history(kind, name, limit, before)
        return [read_message(payload) for payload in kept]

    def forward(
        self,
        type: str,
        data: msgspec.Raw,
        *,
        session: str,
        room: str | None = None,
        user_id: str,
        reply_to: tuple[str, str | None] | None = None,
        traceparent: object = msgspec.UNSET,
    ) -> PublishResult:
        """Publish a message that came in, and was checked then, to its room or else to its session.

        `reply_to` is the connection that it came from and its `id`: that gets an `error` if it cannot be published.
        """
        recoverable = type not in UNCOUNTED_TYPES
        if room is None:
            payload = self._protocol.serialize_forwarded(type, data, session, None, user_id, traceparent)
            result = self._broker.publish(SESSION, session, payload, recoverable=recoverable, reply_to=reply_to)
        else:
            payload = self._protocol.serialize_forwarded(type, data, None, room, user_id, traceparent)
            result = self._broker.publish(ROOM, room, payload, recoverable=recoverable, reply_to=reply_to)
        self._types[type].add(len(payload))
        return result

    def join(
        self,
        room: str,
        *,
        connection: str | None = None,
        user: User | None = None,
        access: RoomAccess = RoomAccess.PUBLISH,
    ) -> int:
        """Put a connection, by its id, or all of a user into a room; returns how many are members now.

        That needs no permission. Each newcomer is sent `room.joined`. With a shared broker it happens a moment later,
        in the other processes as well; counted is who was found in this one. Raises RoomLimitError for one that is in
        as many rooms as it may be, and UnsendableError for a room that cannot be.
        """
        check_room(room)
        if access is RoomAccess.NONE:
            raise ValueError("a member may at least listen; hub.leave takes it out")
        wanted = list(self._wanted(connection, user))
        if self._broker.is_shared:
            if wanted:
                self._background.spawn(self._elsewhere.join_when_ready(wanted, room, access), "hub.join")
            self._elsewhere.join(room, connection, user, access, is_found=bool(wanted))
            return len(wanted)
        return sum(self._rooms.join(member, room, access, placed=True) for member in wanted)

    def leave(self, room: str, *, connection: str | None = None, user: User | None = None, reason: str = "") -> int:
        """Take a connection or all of a user out of a room; returns how many were members, in this process.

        Each is sent `room.left` with the `reason`.
        """
        wanted = list(self._wanted(connection, user))
        self._elsewhere.leave(room, connection, user, reason, is_found=bool(wanted))
        return sum(self._rooms.leave(member, room, reason=reason) for member in wanted)

    def send(
        self, connection_id: str, type: str, data: object = msgspec.UNSET, *, id: str | None = None, lossy: bool = False
    ) -> bool:
        """Send a message to one connection, also of another process that shares the broker.

        Returns False if it is known to be gone, or cannot be reached; True says that the message is on its way, not
        that it arrived.
        """
        connection = self._connections.get(connection_id)
        if not self._is_there(connection_id, connection):
            return False
        if id is not None:
            check_id(id)
        self._check(type, data)
        if connection is None:
            return self._elsewhere.send(connection_id, self._protocol.create_envelope(type, data, id=id), lossy=lossy)
        return self._sender.send(connection, type, data, id=id, lossy=lossy)

    async def request(
        self, connection_id: str, type: str, data: object = msgspec.UNSET, *, timeout_s: float = 10
    ) -> Message:
        """Send a message to one connection and return its reply, which carries the same `id`, whatever its type.

        The reply reaches no handler, and waits for none. Raises ConnectionGoneError if the connection is gone, or goes
        before it has answered, TimeoutError after `timeout_s`, InvalidMessageError for a reply that cannot be read.
        """
        if self._connections.get(connection_id) is None and self._elsewhere.may_have(connection_id):
            self._check(type, data)
            envelope = self._protocol.create_envelope(type, data, id=new_request_id())
            try:
                return message_of(await self._elsewhere.request(connection_id, envelope, timeout_s))
            except TimeoutError:
                raise TimeoutError(f"no reply to {type} within {timeout_s} s") from None
        with self._requests.awaited(connection_id) as (request_id, reply):
            if not self.send(connection_id, type, data, id=request_id):
                raise ConnectionGoneError(connection_id)
            try:
                async with asyncio.timeout(timeout_s):
                    return message_of(await reply)
            except TimeoutError:
                raise TimeoutError(f"no reply to {type} within {timeout_s} s") from None

    def send_error(
        self,
        connection_id: str,
        code: ErrorCode | AppErrorCode,
        message: str = "",
        details: dict[str, object] | None = None,
        *,
        id: str | None = None,
    ) -> bool:
        """Send an `error` envelope to one connection, as the answer to message `id`. Returns as `send`.

        `code` is an ErrorCode or one that the app has declared; without a message the client gets its meaning.
        """
        connection = self._connections.get(connection_id)
        if not self._is_there(connection_id, connection):
            return False
        text = message or meaning_of(code)
        if connection is None:
            return self._elsewhere.send(
                connection_id, self._protocol.create_error_envelope(code, text, id=id, details=details), error=code
            )
        return self._sender.error(connection, code, text, id=id, details=details)

    def close(self, connection_id: str, code: int = CloseCode.KICKED, reason: str = "") -> bool:
        """Close a connection, after what was sent to it before. Returns as `send`.

        Raises UnsendableError for a code that no close frame may carry, and for a reason of more than 123 bytes.
        """
        connection = self._connections.get(connection_id)
        if not self._is_there(connection_id, connection):
            return False
        check_close(code, reason)
        if connection is None:
            return self._elsewhere.close(connection_id, code, reason)
        self._delivery.close(connection, app_disconnect(code, reason))
        return True

    def kick(self, user: User, code: int = CloseCode.KICKED, reason: str = "") -> int:
        """Close all connections of a user, in every process that shares the broker; returns how many in this one.

        Raises as `close`. The user may come back at once.
        """
        check_close(code, reason)
        return self._elsewhere.kick(user, code, reason)

    async def revoke(self, revocation: Revocation) -> int:
        """Revoke a token, a user, or all tokens issued before a moment; returns until when, in ms since the epoch.

        Once it returns every process knows it or learns it within a second, those that start later too: newcomers are
        refused, and connections ended with AUTH_INVALID and 4001. Raises ValueError for times that have no effect,
        NotRevokedError if the broker cannot be reached or refuses, RevocationsFullError if there is no room.
        """
        return await self._elsewhere.revoke(revocation)

    def resource(self, kind: type[T]) -> T:
        """Return what a lifespan yielded, by its type or a base of it.

        Raises LookupError if there is none at the moment, or more than one.
        """
        return self._resources.find(kind)

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine beside the handlers until it ends, or the server does; returns its task.

        The server holds the task. An exception in it is logged as `task.failed` with its name, the function's unless
        given. Raises TypeError for anything but a coroutine, and RuntimeError once the server has ended.
        """
        return self._background.spawn(coroutine, name)

    def from_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function, such as `hub.publish`, on the server's event loop from another thread.

        Returns at once; the future's `result()` waits for what the call returned or raised. Raises RuntimeError on
        the loop's own thread, where waiting would never end, and once the loop is closed.
        """
        return self._background.from_thread(call, args, kwargs)

    async def members(self, room: str) -> list[str]:
        """Return the user ids of who is in a room, as `presence` tells those who asked for it, wherever they are.

        Raises NotPublishedError while a shared broker is away. A process that does not answer within 2 s is left out.
        """
        return await self._rooms.members(room)

    def _target(self, session: str | None, room: str | None, user: User | None) -> tuple[GroupKind, str]:
        """Return the group that is published to."""
        if (session is None) + (room is None) + (user is None) != 2:
            raise TypeError("publish to one of session=, room= and user=")
        if session is not None:
            return SESSION, session
        if room is not None:
            check_room(room)
            return ROOM, room
        assert user is not None
        return USER, self._connections.user_group(user)

    def _wanted(self, connection: str | None, user: User | None) -> Iterable[Connection]:
        if (connection is None) == (user is None):
            raise TypeError("name one of connection= and user=")
        if user is not None:
            return self._connections.by_user(user)
        found = self._connections.get(connection or "")
        return () if found is None else (found,)

    def _is_there(self, connection_id: str, connection: Connection | None) -> bool:
        """Whether a connection is open, as far as is known here."""
        return self._elsewhere.may_have(connection_id) if connection is None else connection.is_open

    def _check(self, type: str, data: object) -> MessageCounter:
        """Return what counts messages of this type; raises for what cannot be sent."""
        counter = self._types[type]
        if self._declared is not None:
            self._declared.check_sent(type, data)
        if data.__class__ is msgspec.Raw:
            check_slice(type, data)
        return counter

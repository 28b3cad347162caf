"""Messages out, as the server's own rooms and an app's code send them (the seed's sendMessage and broadcast)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

import msgspec

from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import MessageProtocol, OutboundEnvelope
from wsserver.connections.delivery import Delivery
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.sessions import SessionService
from wsserver.connections.state import Connection
from wsserver.sdk.background import BackgroundTasks
from wsserver.sdk.sendable import SendableTypes, check_close, check_id, check_slice

P = ParamSpec("P")
T = TypeVar("T")


class Hub:
    """Sends to connections and sessions by id. Calls return at once; what they send keeps its order.

    `data` may be any JSON value, a msgspec Struct, a dataclass, or a raw slice. What a receiver could not read is
    refused at the call: UnsendableError, a ValueError, for a type, an id or data that cannot be sent, and TypeError for
    data of a type that JSON does not have. For a connection that is gone nothing is looked at, and nothing raised.

    All calls belong on the server's event loop: another thread goes through `from_thread`.
    """

    __slots__ = (
        "_background",
        "_connections",
        "_delivery",
        "_loop",
        "_protocol",
        "_sessions",
        "_thread_id",
        "_types",
    )

    def __init__(
        self,
        protocol: MessageProtocol,
        delivery: Delivery,
        connections: ConnectionManager,
        sessions: SessionService,
        background: BackgroundTasks,
    ) -> None:
        self._protocol = protocol
        self._delivery = delivery
        self._connections = connections
        self._sessions = sessions
        self._background = background
        self._types = SendableTypes()
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()

    def send(
        self, connection_id: str, type: str, data: object = msgspec.UNSET, *, id: str | None = None, lossy: bool = False
    ) -> bool:
        """Send a message to one connection; returns False if it is gone."""
        connection = self._connections.get(connection_id)
        if connection is None or not connection.is_open:
            return False
        if id is not None:
            check_id(id)
        return self.reply_to(connection, type, data, id=id, lossy=lossy)

    def send_error(
        self, connection_id: str, code: ErrorCode, message: str, details: dict[str, object] | None = None
    ) -> bool:
        """Send an `error` envelope that answers no message to one connection; returns False if it is gone."""
        connection = self._connections.get(connection_id)
        return connection is not None and self.error(connection, code, message, details=details)

    def broadcast(
        self,
        session_id: str,
        type: str,
        data: object = msgspec.UNSET,
        *,
        user_id: str | None = None,
        lossy: bool = False,
    ) -> int:
        """Send a message to every connection of a session; returns how many it has.

        `user_id` tells the receivers who sent it; a slow reader may miss a `lossy` one.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return 0
        self._types[type]  # raises for one that cannot be sent
        if data.__class__ is msgspec.Raw:
            check_slice(type, data)
        envelope = self._protocol.create_envelope(type, data, session_id, user_id=user_id)
        self._delivery.broadcast(session, self._protocol.serialize(envelope), lossy=lossy)
        return len(session.connections)

    def close(self, connection_id: str, code: int = CloseCode.KICKED, reason: str = "") -> bool:
        """Close a connection, after what was sent to it before; returns False if it is gone.

        Raises UnsendableError for a code that no close frame may carry, and for a reason of more than 123 bytes.
        """
        connection = self._connections.get(connection_id)
        if connection is None or not connection.is_open:
            return False
        check_close(code, reason)
        self._delivery.close(connection, code, reason)
        return True

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine beside the handlers until it ends, or the server does; returns its task.

        The server holds the task. An exception in it is logged as `task.failed` with its name, the function's unless
        given. Raises TypeError for anything but a coroutine, and RuntimeError once the server has ended.
        """
        return self._background.spawn(coroutine, name)

    def from_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function, such as `hub.broadcast`, on the server's event loop from another thread.

        Returns at once; the future's `result()` waits for what the call returned or raised. Raises RuntimeError on
        the loop's own thread, where waiting would never end, and once the loop is closed.
        """
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("from_thread is for other threads: on the event loop call it directly")
        future: Future[T] = Future()
        self._loop.call_soon_threadsafe(self._background.call, future, call, args, kwargs)
        return future

    def fan_out(self, session_id: str, type: str, data: msgspec.Raw, *, user_id: str) -> int:
        """Broadcast a message that came in, and was checked then."""
        session = self._sessions.get(session_id)
        if session is None:
            return 0
        envelope = self._protocol.create_envelope(type, data, session_id, user_id=user_id)
        self._delivery.broadcast(session, self._protocol.encode(envelope))
        return len(session.connections)

    def reply_to(self, connection: Connection, type: str, data: object, *, id: str | None, lossy: bool = False) -> bool:
        """Send an app's message to a connection at hand; returns False if it is closing."""
        if not connection.is_open:
            return False
        self._types[type]  # raises for one that cannot be sent
        if data.__class__ is msgspec.Raw:
            check_slice(type, data)
        envelope = self._protocol.create_envelope(type, data, connection.session.id, id=id)
        return self._delivery.send(connection, self._protocol.serialize(envelope), lossy=lossy)

    def send_to(
        self,
        connection: Connection,
        type: str,
        data: object = msgspec.UNSET,
        *,
        id: str | None = None,
        lossy: bool = False,
    ) -> bool:
        """Send a message to a connection at hand; returns False if it is closing."""
        envelope = self._protocol.create_envelope(type, data, connection.session.id, id=id)
        return self.send_envelope(connection, envelope, lossy=lossy)

    def send_envelope(self, connection: Connection, envelope: OutboundEnvelope, *, lossy: bool = False) -> bool:
        """Send a finished envelope to a connection at hand; returns False if it is closing."""
        return self._delivery.send(connection, self._protocol.serialize(envelope), lossy=lossy)

    def error(
        self,
        connection: Connection,
        code: ErrorCode,
        message: str,
        *,
        id: str | None = None,
        details: dict[str, object] | None = None,
    ) -> bool:
        """Send an `error` envelope, carrying the `id` of the request that caused it; returns False if it is closing."""
        if not connection.is_open:
            return False
        envelope = self._protocol.create_error_envelope(code, message, connection.session.id, id=id, details=details)
        return self.send_envelope(connection, envelope)

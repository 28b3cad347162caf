"""What a handler gets to know and to do about the message it handles."""

from __future__ import annotations

from typing import Any, Generic

import msgspec
from typing_extensions import TypeVar

from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import NO_DATA
from wscore.principal import Principal
from wscore.rooms import RoomAccess
from wscore.traceparent import read_traceparent
from wsserver.brokers.base import PublishResult
from wsserver.connections.state import Connection
from wsserver.connections.users import User
from wsserver.sdk.errors import AppErrorCode
from wsserver.sdk.hub import Hub

S = TypeVar("S", default=Any)  # the type of the state that the app keeps of each connection
T = TypeVar("T")


class Context(Generic[S]):
    """One message's sender and the ways to answer. Calls return at once; order is kept.

    `Context[Player]` says that `ctx.state` is a Player, as `App(state=Player)` makes it.
    """

    __slots__ = ("_connection", "_traceparent", "hub", "request_id", "room", "type")

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        type: str | None = None,
        request_id: str | None = None,
        room: str | None = None,
        traceparent: msgspec.Raw = NO_DATA,
    ) -> None:
        self._connection = connection
        self._traceparent = traceparent
        self.hub = hub
        self.type = type  # the message's; None in a connect or disconnect hook
        self.request_id = request_id  # the message's `id`, which `reply` and `error` carry back
        self.room = room  # which the message is for, and its sender may send this to; None: for the session

    @property
    def principal(self) -> Principal:
        """Who sent the message."""
        return self._connection.principal

    @property
    def connection_id(self) -> str:
        """The connection it came from."""
        return self._connection.id

    @property
    def is_lost(self) -> bool:
        """Whether the connection ended without a goodbye, so that its client may come back; for a disconnect hook."""
        return self._connection.is_lost

    @property
    def session_id(self) -> str:
        """The session it came from."""
        return self._connection.session_id

    @property
    def traceparent(self) -> str | None:
        """The trace that the message belongs to, as W3C Trace Context writes it; None for none, or one malformed."""
        return read_traceparent(self._traceparent)

    @property
    def state(self) -> S:
        """What the app keeps of this connection, made at first use; a plain namespace unless the app names a type."""
        connection = self._connection
        if connection.state is None:
            connection.state = self.hub._new_state()
        state: S = connection.state
        return state

    def resource(self, kind: type[T]) -> T:
        """Return what a lifespan yielded, by its type; raises LookupError, see `Hub.resource`."""
        return self.hub.resource(kind)

    def reply(self, type: str, data: object = msgspec.UNSET) -> bool:
        """Answer the sender, with the request's `id`; returns False if it is gone."""
        if self.hub._declared is not None:
            self.hub._declared.check_reply(self.type, data)
        return self.hub.send(self.connection_id, type, data, id=self.request_id)

    def error(
        self, code: ErrorCode | AppErrorCode, message: str = "", details: dict[str, object] | None = None
    ) -> bool:
        """Answer with an `error` envelope, with the request's `id`; the connection stays open.

        `code` is an ErrorCode or one that the app has declared, whose meaning is the message unless there is one.
        """
        return self.hub.send_error(self.connection_id, code, message, details, id=self.request_id)

    def send(self, connection_id: str, type: str, data: object = msgspec.UNSET) -> bool:
        """Send to any connection by its id; returns False if it is gone."""
        return self.hub.send(connection_id, type, data)

    def publish(
        self,
        type: str,
        data: object = msgspec.UNSET,
        *,
        session: str | None = None,
        room: str | None = None,
        user: User | None = None,
        lossy: bool = False,
        except_connection: str | None = None,
    ) -> PublishResult:
        """Publish to where the message was addressed, the sender included, or to another target; see `Hub.publish`."""
        if session is None and room is None and user is None:
            room = self.room
            session = self.session_id if room is None else None
        return self.hub.publish(
            type,
            data,
            session=session,
            room=room,
            user=user,
            user_id=self.principal.user_id,
            lossy=lossy,
            except_connection=except_connection,
        )

    def join(self, room: str, *, access: RoomAccess = RoomAccess.PUBLISH) -> bool:
        """Put the sender into a room, which needs no permission; returns False if it is gone, raises as `Hub.join`."""
        return self.hub.join(room, connection=self.connection_id, access=access) > 0

    def leave(self, room: str, reason: str = "") -> bool:
        """Take the sender out of a room, and tell it so; returns False if it was not in it."""
        return self.hub.leave(room, connection=self.connection_id, reason=reason) > 0

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> bool:
        """Close the sender's connection, after what was sent to it before."""
        return self.hub.close(self.connection_id, code, reason)

"""What is said over a client's connection: messages, requests and their replies, rooms, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from wsclient.errors import ConnectionClosedError, NoReplyError, NotConnectedError
from wsclient.events import ClientState, Event, Sent
from wsclient.following import Following
from wsclient.frametext import text_of_frame
from wsclient.inbox import Inbox
from wsclient.replies import Replies, server_error
from wscore.codes import CloseCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, OutboundEnvelope, decode_data
from wscore.errors import ConfigError
from wscore.foreign import Adapter, Frame, wsctl_adapter
from wscore.payloads import RoomJoin, RoomJoined, RoomLeave, SessionCreated
from wscore.rooms import is_room_name

if TYPE_CHECKING:
    from wsclient.clientsocket import ClientSocket

T = TypeVar("T")


def checked_rooms(rooms: Iterable[str]) -> list[str]:
    """Return rooms, each once; raises ConfigError for a name that no room can have."""
    for room in rooms:
        if not is_room_name(room):
            raise ConfigError("--room", f"{room!r} is no name of a room", "a name is 1 to 128 of A-Z a-z 0-9 _ . : -")
    return list(dict.fromkeys(rooms))


class ClientCalls:
    """The part of a client that talks and listens; what connects it is the other one."""

    def __init__(self, adapter: Adapter, following: Following, inbox_limit: int, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._ours = wsctl_adapter(now_ms)
        self._following = following
        self._inbox = Inbox(inbox_limit)
        self._protocol = MessageProtocol(now_ms)
        self._watchers: list[Callable[[Event], None]] = []
        self._replies = Replies()
        self._socket: ClientSocket | None = None
        self.adapter = adapter
        self.session: SessionCreated | None = None
        self.state = ClientState.NEW

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms in which the client is, or into which it comes back."""
        return self._following.rooms

    @property
    def is_joining(self) -> bool:
        """Whether the server has not said yet of every room that is joined by itself if it lets us in."""
        return self._following.is_joining

    @property
    def unanswered_rooms(self) -> tuple[str, ...]:
        """The rooms that the client wants to be in, of which the server did not say if it lets us in."""
        return self._following.unanswered

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        """Yield envelopes until a normal closure; any other end raises ConnectionClosedError."""
        while True:
            try:
                envelope = await self._inbox.take()
            except ConnectionClosedError as closed:
                if closed.code == CloseCode.NORMAL:
                    return
                raise
            yield envelope

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call `watcher` with every event, at once and in order."""
        self._watchers.append(watcher)

    async def send(
        self, type: str, data: object = msgspec.UNSET, *, id: str | None = None, room: str | None = None
    ) -> None:
        """Send one message, as the protocol wraps it; to a `room` where the server is one of wsctl.

        Raises NotConnectedError while there is no connection, InvalidMessageError for what the protocol cannot say.
        """
        if room is None:
            await self.send_raw(self.adapter.wrap(type, data, id))
            return
        self._check_has_rooms()
        await self.send_envelope(self._protocol.create_envelope(type, data, id=id, room=room))

    async def join(self, room: str, *, presence: bool = False, timeout_s: float = 10) -> RoomJoined:
        """Be a member of a room from now on, over reconnects too; with `presence`, be told who comes and goes.

        Raises ServerError if the server does not let us in, InvalidMessageError if it is of another make, and what
        `request` raises.
        """
        self._check_has_rooms()
        reply = await self.request("room.join", RoomJoin(room, presence), timeout_s=timeout_s)
        return decode_data(reply.data, RoomJoined)

    async def leave(self, room: str, *, timeout_s: float = 10) -> None:
        """Be a member of a room no longer; raises what `join` raises."""
        self._check_has_rooms()
        await self.request("room.leave", RoomLeave(room), timeout_s=timeout_s)

    async def send_envelope(self, envelope: Envelope | OutboundEnvelope) -> None:
        """Send a finished envelope; raises NotConnectedError while there is no connection."""
        await self.send_raw(self._protocol.serialize(envelope).decode())

    async def send_raw(self, frame: Frame) -> None:
        """Send a frame as it is, valid or not, bytes as a binary one; raises NotConnectedError without a connection.

        A wsctl server takes no binary frames: it closes with 1003.
        """
        socket = self._socket
        if socket is None or self.state is not ClientState.OPEN:
            raise NotConnectedError
        message = self.adapter.read(frame).message
        if message is not None and self.adapter is self._ours:
            self._following.sent(message)  # before it is answered
        if not await socket.send(frame):
            raise NotConnectedError
        self._tell_sent(frame, message)

    def compose(self, line: str, type: str = "") -> Frame:
        """Return the frame of a line as somebody types it, see `Adapter.compose`; raises InvalidMessageError."""
        return self.adapter.compose(line, type, lambda: self._replies.new_id(self.adapter))

    async def request(self, type: str, data: object = msgspec.UNSET, *, timeout_s: float = 10) -> Envelope:
        """Send a message with an id and return the reply that carries the same one, as the protocol has it.

        Raises ServerError if the reply is an `error` of a wsctl server, NoReplyError after `timeout_s`,
        ConnectionClosedError if the connection ends first, NotConnectedError while there is none.
        """
        try:
            with self._replies.awaited(self.adapter) as (request_id, reply), self._inbox.seeking():
                await self.send(type, data, id=request_id)
                async with asyncio.timeout(timeout_s):
                    envelope = await reply
        except TimeoutError:
            raise NoReplyError(f"reply to {type}", timeout_s) from None
        if envelope.type == "error" and self.adapter is self._ours:
            raise server_error(envelope)
        return envelope

    async def ping(self, *, timeout_s: float = 10) -> float:
        """Send a WebSocket ping, which every server answers, and return its round trip in ms.

        Raises NoReplyError after `timeout_s`, NotConnectedError while there is no connection.
        """
        if self._socket is None:
            raise NotConnectedError
        return await self._socket.ping(timeout_s)

    async def receive(self, type: str | None = None, *, timeout_s: float | None = None) -> Envelope:
        """Return the next envelope, of a type if one is given; others wait for a later call.

        Raises NoReplyError after `timeout_s`, ConnectionClosedError once the connection has ended for good.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._inbox.take(type)
        except TimeoutError:
            raise NoReplyError(type or "message", timeout_s or 0) from None

    async def expect(self, type: str, data_type: type[T], *, timeout_s: float | None = None) -> T:
        """Return the data of the next envelope of a type, decoded as `data_type`.

        Raises InvalidMessageError naming the field that does not fit, and what `receive` raises.
        """
        return decode_data((await self.receive(type, timeout_s=timeout_s)).data, data_type)

    def _check_has_rooms(self) -> None:
        if self.session is None and self.state is ClientState.OPEN:
            raise InvalidMessageError("the server is not known to be one of wsctl, and so to have rooms")

    def _tell_sent(self, frame: Frame, message: Envelope | None) -> None:
        text, binary = text_of_frame(frame)
        self._tell(Sent(text, self._now_ms(), message, binary))

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)

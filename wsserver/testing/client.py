"""A client of a test: it keeps what comes until the test asks for it, and fails with what came instead."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from wscore.codes import CloseCode
from wscore.envelope import MessageProtocol
from wscore.message import Message
from wscore.wallclock import now_ms

HANG_S: Final = 5.0  # real seconds until a test that would hang fails


class AppClient:
    """One connection. Pings of the server are answered, and never seen; `settle` waits for the server's handlers."""

    def __init__(self, socket: ClientConnection, settle: Callable[[], Awaitable[None]]) -> None:
        self._socket = socket
        self._settle = settle
        self._protocol = MessageProtocol(now_ms)
        self._numbers = itertools.count(1)
        self._came = asyncio.Event()
        self.messages: list[Message] = []  # what came and no call has taken, the oldest first
        self.greeting: Message | None = None
        self.close_code: int | None = None  # once it is closed
        self.close_reason = ""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def __repr__(self) -> str:
        return f"AppClient({None if self.greeting is None else self.user_id!r}, waiting={self.messages!r})"

    @property
    def user_id(self) -> str:
        """Who it is, as the server says."""
        return str(self._greeted("userId"))

    @property
    def connection_id(self) -> str:
        """The id of its connection."""
        return str(self._greeted("connectionId"))

    @property
    def session_id(self) -> str:
        """The id of its session."""
        return str(self._greeted("sessionId"))

    async def send(self, type: str, data: object = None, *, id: str | None = None, room: str | None = None) -> None:
        """Send a message, to a room if one is named."""
        payload = self._protocol.serialize(self._protocol.create_envelope(type, data, id=id, room=room))
        await self._socket.send(payload.decode())

    async def request(self, type: str, data: object = None, *, room: str | None = None) -> Message:
        """Send a message with an id and return the reply that carries it, which may be an `error`."""
        id = f"t{next(self._numbers)}"
        await self.send(type, data, id=id, room=room)
        return await self._take(lambda message: message.id == id, f"a reply to {type}")

    async def receive(self, type: str | None = None) -> Message:
        """Return the next message, or the next of a type; others wait for a later call.

        Raises AssertionError with what came instead, if none does within 5 seconds or the connection has ended.
        """
        return await self._take(lambda message: type in (None, message.type), type or "a message")

    async def receive_error(self, code: str) -> Message:
        """Return the next `error`, which must have this code; raises AssertionError."""
        message = await self.receive("error")
        assert message.data["code"] == code, f"{code} was expected, not {message.data}"
        return message

    async def expect_nothing(self, type: str | None = None) -> None:
        """Raise AssertionError if a message, or one of a type, has come or is on its way, without waiting for time.

        What this client and the others have sent is handled first, what the server sends for it is looked at. For what
        a timer would send move the clock before.
        """
        await self._settle()
        unexpected = [message for message in self.messages if type in (None, message.type)]
        assert not unexpected, f"nothing was expected, but this came: {unexpected}"

    async def barrier(self) -> None:
        """Return once the server has read all that was sent, and all that it had sent before that has come."""
        id = f"barrier-{next(self._numbers)}"
        await self.send("ping", {"timestamp": 0}, id=id)
        await self._take(lambda message: message.id == id, "an answer to a ping")

    async def closed(self) -> tuple[int, str]:
        """Wait for the end of the connection; returns the close code and the reason."""
        try:
            await asyncio.wait_for(asyncio.shield(self._reading), HANG_S)
        except TimeoutError:
            raise AssertionError(f"the connection is open still; there are {self.messages}") from None
        return self.close_code or CloseCode.ABNORMAL, self.close_reason

    async def close(self) -> None:
        """Leave, and wait for the server to know it."""
        await self._socket.close()
        await self._reading

    async def abort(self) -> None:
        """Lose the connection, without a goodbye."""
        self._socket.transport.abort()
        await self._reading

    def _greeted(self, name: str) -> object:
        assert self.greeting is not None, "this client was not greeted"
        return self.greeting.data[name]

    async def _take(self, fits: Callable[[Message], bool], what: str) -> Message:
        deadline = asyncio.get_running_loop().time() + HANG_S
        while True:
            for number, message in enumerate(self.messages):
                if fits(message):
                    return self.messages.pop(number)
            ended = f", and the connection was closed with {self.close_code}" if self._reading.done() else ""
            left_s = deadline - asyncio.get_running_loop().time()
            assert not ended, f"{what} was expected{ended} {self.close_reason!r}; there are {self.messages}"
            assert left_s > 0, f"{what} was expected within {HANG_S:g} s; there are {self.messages}"
            self._came.clear()
            waiting = asyncio.get_running_loop().create_task(self._came.wait())
            await asyncio.wait((waiting, self._reading), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    async def _read(self) -> None:
        try:
            while True:
                frame: Any = await self._socket.recv()
                message = msgspec.json.decode(frame, type=Message)
                if message.type == "ping":
                    await self.send("pong", message.data, id=message.id)
                    continue
                self.messages.append(message)
                self._came.set()
        except ConnectionClosed as end:
            close = end.rcvd or end.sent
            self.close_code = CloseCode.ABNORMAL if close is None else close.code
            self.close_reason = "" if close is None else close.reason

"""The client: connects, answers pings, matches replies to requests, and comes back as the close-code table says."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from wsclient.connection import Connection, DialOptions, End
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    NoReplyError,
    NotConnectedError,
    ServerError,
)
from wsclient.events import TRANSITIONS, ClientState, Closed, Event, Opened, Received, Reconnecting, Sent
from wsclient.inbox import Inbox
from wsclient.tokens import GuestTokens, TokenSource
from wsclient.url import connect_url, has_token, normalise_url
from wscore.codes import CloseCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, decode_data
from wscore.payloads import Disconnect, ErrorData, SessionCreated, Timestamp
from wscore.reconnect import ReconnectPolicy
from wscore.text import redact

T = TypeVar("T")

DEFAULT_INBOX: Final = 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Greeted:
    """An open connection with its session, or with the frame that came in place of a greeting."""

    connection: Connection
    session: SessionCreated | None
    first: str | None


class Client:
    """A connection to a wsctl server that survives the loss of its WebSocket.

        async with Client("ws://127.0.0.1:8765/socket.io/") as client:
            await client.send("message", "hello")
            print(await client.receive("message"))

    Without a token source it makes its own guest tokens; a `?token=` in the URL is used as it is. With
    `reconnect=None` the first loss is the end. Sizes in envelopes, times in seconds or ms as the names say;
    `now_ms`, `sleep` and `random` are for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        session_id: str | None = None,
        reconnect: ReconnectPolicy | None = ReconnectPolicy(),
        auto_pong: bool = True,
        dial: DialOptions = DialOptions(),
        inbox_limit: int = DEFAULT_INBOX,
        now_ms: Callable[[], int] = _now_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._url = normalise_url(url)
        self.shown_url = redact(self._url)
        self._token = token or GuestTokens(now_ms)
        self._session_id = session_id
        self._reconnect = reconnect
        self._auto_pong = auto_pong
        self._dial = dial
        self._inbox = Inbox(inbox_limit)
        self._now_ms = now_ms
        self._sleep = sleep
        self._random = random
        self._protocol = MessageProtocol(now_ms)
        self._watchers: list[Callable[[Event], None]] = []
        self._replies: dict[str, asyncio.Future[Envelope]] = {}
        self._requests = 0
        self._request_prefix = uuid.uuid4().hex[:8]
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry_after_ms = 0
        self._used_token: str | None = None
        self.session: SessionCreated | None = None
        self.state = ClientState.NEW

    def __repr__(self) -> str:
        return f"Client({self.shown_url!r}, {self.state})"

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

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

    async def connect(self) -> None:
        """Open the first connection.

        Raises ConnectionFailedError, AuthenticationRefusedError, or ConnectionClosedError when the server
        closes instead of greeting.
        """
        self._move(ClientState.CONNECTING)
        try:
            greeted = await self._open()
        except BaseException:
            self._move(ClientState.CLOSED)
            raise
        self._task = asyncio.get_running_loop().create_task(self._run(greeted))

    async def close(self) -> None:
        """Close with 1000 and wait a bounded time for the server; no task is left behind."""
        if self.state is ClientState.CLOSED:
            return
        self._move(ClientState.CLOSED)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()
        await self._end(ConnectionClosedError(CloseCode.NORMAL, ""))

    async def send(self, type: str, data: object = msgspec.UNSET, *, id: str | None = None) -> None:
        """Send one message; raises NotConnectedError while there is no connection."""
        await self.send_envelope(self._protocol.create_envelope(type, data, id=id))

    async def send_envelope(self, envelope: Envelope) -> None:
        """Send a finished envelope; raises NotConnectedError while there is no connection."""
        await self.send_raw(self._protocol.serialize(envelope).decode())

    async def send_raw(self, text: str) -> None:
        """Send a text frame as it is, valid or not; raises NotConnectedError while there is no connection."""
        connection = self._connection
        if connection is None or self.state is not ClientState.OPEN or not await connection.send(text):
            raise NotConnectedError
        self._tell(Sent(text, self._now_ms()))

    async def request(self, type: str, data: object = msgspec.UNSET, *, timeout_s: float = 10) -> Envelope:
        """Send a message with an `id` and return the reply that carries the same one.

        Raises ServerError if the reply is an `error`, NoReplyError after `timeout_s`, ConnectionClosedError if
        the connection ends first, NotConnectedError while there is none.
        """
        self._requests += 1
        request_id = f"{self._request_prefix}-{self._requests}"
        reply: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = reply
        try:
            await self.send(type, data, id=request_id)
            async with asyncio.timeout(timeout_s):
                envelope = await reply
        except TimeoutError:
            raise NoReplyError(f"reply to {type}", timeout_s) from None
        finally:
            self._replies.pop(request_id, None)
        if envelope.type == "error":
            error = decode_data(envelope.data, ErrorData)
            raise ServerError(error.code, error.message, error.retryable, error.details)
        return envelope

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

    async def _run(self, greeted: _Greeted | None) -> None:
        try:
            while greeted is not None:
                end = await self._read(greeted)
                self._connection = self.session = None
                self._tell(Closed(end.code, end.reason))
                self._fail_requests(ConnectionClosedError(end.code, end.reason))
                greeted = await self._come_back(end)
        except Exception as error:  # raised by a watcher or a token source: whoever receives is to know
            if self._connection is not None:
                self._connection.abort()
            self._move(ClientState.CLOSED)
            await self._end(error)

    async def _come_back(self, end: End) -> _Greeted | None:
        """Reconnect as the table says; None when that is over, the inbox then knows why."""
        problem: Exception = ConnectionClosedError(end.code, end.reason)
        code, attempt = end.code, 0
        refused_token = self._used_token if code == CloseCode.AUTH_FAILED else None
        while self._reconnect is not None and self._reconnect.may_retry(code, attempt):
            delay_ms = self._reconnect.delay_ms(attempt, self._random(), self._retry_after_ms)
            self._retry_after_ms = 0
            attempt += 1
            self._move(ClientState.WAITING)
            self._tell(Reconnecting(attempt, delay_ms, str(problem)))
            await self._sleep(delay_ms / 1000)
            self._move(ClientState.CONNECTING)
            try:
                return await self._open(refused_token)
            except AuthenticationRefusedError as error:
                problem = error  # a fresh token was refused: the next one would be too
                break
            except ConnectionFailedError as error:
                problem, code = error, CloseCode.ABNORMAL
            except ConnectionClosedError as error:
                problem, code = error, error.code
        self._move(ClientState.CLOSED)
        await self._end(problem)
        return None

    async def _open(self, refused_token: str | None = None) -> _Greeted:
        token = "" if has_token(self._url) else await self._token()
        if refused_token is not None and token == refused_token:
            raise AuthenticationRefusedError("AUTH_EXPIRED", "there is no newer token to try")
        self._used_token = token
        url = connect_url(self._url, token=token or None, session_id=self._session_id)
        connection = await Connection.dial(url, self.shown_url, self._dial)
        try:
            greeted = await self._greet(connection)
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
        self.session = greeted.session
        self._move(ClientState.OPEN)
        self._tell(Opened(greeted.session))
        return greeted

    async def _greet(self, connection: Connection) -> _Greeted:
        """Read the greeting, or the refusal that comes in its place."""
        try:
            async with asyncio.timeout(self._dial.open_timeout_s):
                first = await connection.receive()
                if isinstance(first, End):
                    raise ConnectionClosedError(first.code, first.reason)
                envelope = self._parse(first)
                if envelope is None:
                    return _Greeted(connection, None, first)
                if envelope.type == "session_created":
                    return _Greeted(connection, decode_data(envelope.data, SessionCreated), first)
                if envelope.type == "error":
                    await self._refused(connection, decode_data(envelope.data, ErrorData))
                return _Greeted(connection, None, first)
        except TimeoutError:
            problem = f"no greeting within {self._dial.open_timeout_s:g} s; is this a wsctl server?"
        except InvalidMessageError as error:
            problem = f"its greeting is malformed: {error}"
        raise ConnectionFailedError(self.shown_url, problem)

    @staticmethod
    async def _refused(connection: Connection, error: ErrorData) -> None:
        end = await connection.receive()
        if isinstance(end, End):
            if end.code == CloseCode.AUTH_FAILED:
                raise AuthenticationRefusedError(error.code, error.message)
            raise ConnectionClosedError(end.code, error.message)

    async def _read(self, greeted: _Greeted) -> End:
        connection = greeted.connection
        silence_s = None if greeted.session is None else greeted.session.heartbeat.timeout_ms / 1000
        if greeted.first is not None:
            await self._handle(greeted.first)
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    frame = await connection.receive()
            except TimeoutError:
                connection.abort()
                return End(CloseCode.ABNORMAL, f"no sign of life from the server for {silence_s:g} s")
            if isinstance(frame, End):
                return frame
            await self._handle(frame)

    async def _handle(self, text: str) -> None:
        envelope = self._parse(text)
        self._tell(Received(text, envelope, self._now_ms()))
        if envelope is None:
            return
        if envelope.type == "ping" and self._auto_pong:
            if self._connection is not None:
                pong = self._protocol.create_envelope("pong", Timestamp(self._now_ms()))
                answer = self._protocol.serialize(pong).decode()
                if await self._connection.send(answer):
                    self._tell(Sent(answer, self._now_ms()))
            return
        if envelope.type == "disconnect":
            self._retry_after_ms = _retry_after_ms(envelope)
        reply = self._replies.get(envelope.id) if envelope.id is not None else None
        if reply is not None and not reply.done():
            reply.set_result(envelope)
        else:
            await self._inbox.put(envelope)

    def _parse(self, text: str) -> Envelope | None:
        try:
            return self._protocol.deserialize(text.encode())
        except (InvalidMessageError, UnicodeEncodeError):
            return None

    async def _end(self, error: Exception) -> None:
        self._fail_requests(error)
        await self._inbox.end(error)

    def _fail_requests(self, error: Exception) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error)

    def _move(self, state: ClientState) -> None:
        if state is not self.state:
            assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
            self.state = state

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)


def _retry_after_ms(envelope: Envelope) -> int:
    try:
        return max(0, decode_data(envelope.data, Disconnect).retry_after_ms)
    except InvalidMessageError:
        return 0

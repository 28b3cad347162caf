"""The client: connects, answers pings, matches replies to requests, and comes back as the close-code table says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from wsclient.dialling import DialOptions, End, read_envelope
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeRefusedError,
    NoReplyError,
    NotConnectedError,
)
from wsclient.events import TRANSITIONS, ClientState, Closed, Event, Opened, Received, Reconnecting, Sent
from wsclient.greeting import Greeting, greet
from wsclient.inbox import Inbox
from wsclient.replies import Replies, server_error
from wsclient.tokens import GuestTokens, TokenSource
from wsclient.url import connect_url, has_token, normalise_url, shown_url
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, OutboundEnvelope, decode_data
from wscore.errors import TargetError
from wscore.payloads import Disconnect, SessionCreated, Timestamp
from wscore.reconnect import ReconnectPolicy
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from wsclient.clientsocket import ClientSocket

T = TypeVar("T")

DEFAULT_INBOX: Final = 1000
MAX_RETRY_AFTER_MS: Final = 10 * 60 * 1000  # no server may send a client away for longer


class Client:
    """A connection to a wsctl server that survives the loss of its WebSocket.

        async with Client("ws://127.0.0.1:8765/socket.io/") as client:
            await client.send("message", "hello")
            print(await client.receive("message"))

    Without a token source it makes its own guest tokens, unless URL, headers or subprotocols carry a token. With
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
        now_ms: Callable[[], int] = now_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._url = normalise_url(url)
        self.shown_url = shown_url(self._url)
        own_token = has_token(self._url) or (token is None and dial.has_token)
        self._token = None if own_token else token or GuestTokens(now_ms)
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
        self._replies = Replies()
        self._socket: ClientSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry_after_ms = 0
        self._used_token = ""
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

        Raises ConnectionFailedError, AuthenticationRefusedError, ConnectionClosedError when the server closes
        instead of greeting, NotConnectedError when `close` was called meanwhile, and what the token source raises.
        """
        self._move(ClientState.CONNECTING)
        try:
            greeting = await self._open()
        except BaseException:
            self._move(ClientState.CLOSED)
            raise
        self._task = asyncio.get_running_loop().create_task(self._run(greeting))

    async def close(self) -> None:
        """Close with 1000 and wait a bounded time for the server; no task is left behind."""
        self._move(ClientState.CLOSED)
        socket, self._socket, self.session = self._socket, None, None
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait((self._task,))
        finally:
            self._end(ConnectionClosedError(CloseCode.NORMAL, ""))
            if socket is not None:
                await socket.close()

    async def send(self, type: str, data: object = msgspec.UNSET, *, id: str | None = None) -> None:
        """Send one message; raises NotConnectedError while there is no connection."""
        await self.send_envelope(self._protocol.create_envelope(type, data, id=id))

    async def send_envelope(self, envelope: Envelope | OutboundEnvelope) -> None:
        """Send a finished envelope; raises NotConnectedError while there is no connection."""
        await self.send_raw(self._protocol.serialize(envelope).decode())

    async def send_raw(self, text: str) -> None:
        """Send a text frame as it is, valid or not; raises NotConnectedError while there is no connection."""
        socket = self._socket
        if socket is None or self.state is not ClientState.OPEN or not await socket.send(text):
            raise NotConnectedError
        self._tell(Sent(text, self._now_ms()))

    async def request(self, type: str, data: object = msgspec.UNSET, *, timeout_s: float = 10) -> Envelope:
        """Send a message with an `id` and return the reply that carries the same one.

        Raises ServerError if the reply is an `error`, NoReplyError after `timeout_s`, ConnectionClosedError if
        the connection ends first, NotConnectedError while there is none.
        """
        try:
            with self._replies.awaited() as (request_id, reply), self._inbox.seeking():
                await self.send(type, data, id=request_id)
                async with asyncio.timeout(timeout_s):
                    envelope = await reply
        except TimeoutError:
            raise NoReplyError(f"reply to {type}", timeout_s) from None
        if envelope.type == "error":
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

    async def _run(self, greeting: Greeting | None) -> None:
        try:
            while greeting is not None:
                end = await self._read(greeting)
                self._socket = self.session = None
                self._tell(Closed(end.code, end.reason))
                self._replies.fail(ConnectionClosedError(end.code, end.reason))
                greeting = await self._come_back(end)
        except Exception as error:  # of the token source or a watcher: whoever waits for an envelope gets it
            await self._give_up(error)

    async def _come_back(self, end: End) -> Greeting | None:
        """Reconnect as the table says; None when that is over, whoever waits then knows why."""
        problem: Exception = ConnectionClosedError(end.code, end.reason)
        if end.code == CloseCode.AUTH_FAILED:
            problem = AuthenticationRefusedError(ErrorCode.AUTH_EXPIRED, end.reason)
        code, attempt = end.code, 0
        refused_token = self._used_token if code == CloseCode.AUTH_FAILED else None
        while self._reconnect is not None and self._reconnect.may_retry(code, attempt):
            delay_ms = self._reconnect.delay_ms(attempt, self._random(), self._retry_after_ms)
            self._retry_after_ms = 0
            attempt += 1
            self._move(ClientState.WAITING)
            summary = str(problem)
            if isinstance(problem, ConnectionClosedError | ConnectionFailedError):
                summary = problem.summary
            self._tell(Reconnecting(attempt, delay_ms, summary))
            await self._sleep(delay_ms / 1000)
            self._move(ClientState.CONNECTING)
            try:
                return await self._open(refused_token)
            except AuthenticationRefusedError as error:
                problem = error  # a fresh token was refused: the next one would be too
                break
            except TargetError as error:
                problem, code = error, CloseCode.ABNORMAL
                if isinstance(error, HandshakeRefusedError):
                    self._retry_after_ms = error.retry_after_ms
                    if not error.may_retry:
                        break
            except ConnectionClosedError as error:
                problem, code = error, error.code
        await self._give_up(problem)
        return None

    async def _open(self, refused_token: str | None = None) -> Greeting:
        token = "" if self._token is None else await self._token()
        if token == refused_token:
            raise AuthenticationRefusedError(ErrorCode.AUTH_EXPIRED, "there is no newer token to try")
        self._used_token = token
        url = connect_url(self._url, token=token or None, session_id=self._session_id)
        from wsclient.clientsocket import ClientSocket  # its library takes a while to load

        socket = await ClientSocket.dial(url, self.shown_url, self._dial, self._tell)
        try:
            greeting = await greet(socket, self.shown_url, self._dial.open_timeout_s)
            if self.state is ClientState.CLOSED:
                raise NotConnectedError
            self._socket, self.session = socket, greeting.session
            self._move(ClientState.OPEN)
            self._tell(Opened(greeting.session))
        except BaseException:
            self._socket = self.session = None
            socket.abort()
            raise
        return greeting

    async def _read(self, greeting: Greeting) -> End:
        frame: str | End = greeting.text
        while isinstance(frame, str):
            await self._handle(frame, greeting)
            frame = await greeting.socket.receive(greeting.silence_s)
        return frame

    async def _handle(self, text: str, greeting: Greeting) -> None:
        envelope = read_envelope(text)
        self._tell(Received(text, envelope, self._now_ms()))
        if envelope is None:
            return
        if envelope.type == "ping" and self._auto_pong:
            pong = self._protocol.create_envelope("pong", Timestamp(self._now_ms()))
            answer = self._protocol.serialize(pong).decode()
            if await greeting.socket.send(answer, greeting.silence_s):
                self._tell(Sent(answer, self._now_ms()))
            return
        if envelope.type == "disconnect":
            self._retry_after_ms = _retry_after_ms(envelope)
        if not self._replies.deliver(envelope):
            await self._inbox.put(envelope)

    async def _give_up(self, problem: Exception) -> None:
        self._move(ClientState.CLOSED)
        socket, self._socket, self.session = self._socket, None, None
        try:
            if socket is not None:
                await socket.close()
        finally:
            self._end(problem)

    def _end(self, error: Exception) -> None:
        self._replies.fail(error)
        self._inbox.end(error)

    def _move(self, state: ClientState) -> None:
        if state is not self.state:
            assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
            self.state = state

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)


def _retry_after_ms(envelope: Envelope) -> int:
    try:
        return min(max(0, decode_data(envelope.data, Disconnect).retry_after_ms), MAX_RETRY_AFTER_MS)
    except InvalidMessageError:
        return 0

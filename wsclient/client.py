"""The client: connects, answers heartbeats, pairs replies with requests, and comes back as the close codes say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from wsclient.beating import Beating
from wsclient.dialling import DialOptions, End
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeRefusedError,
    NoReplyError,
    NotConnectedError,
)
from wsclient.events import TRANSITIONS, ClientState, Closed, Event, Opened, Received, Reconnecting, Sent
from wsclient.frametext import text_of_frame
from wsclient.greeting import Greeting, greet
from wsclient.inbox import Inbox
from wsclient.replies import Replies, server_error
from wsclient.tokens import GuestTokens, TokenSource
from wsclient.url import adapted_url, connect_url, has_token, is_seed_url, normalise_url, shown_url
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, OutboundEnvelope, decode_data
from wscore.errors import TargetError
from wscore.foreign import Frame, Kind, ProtocolName, ProtocolSettings, wsctl_adapter
from wscore.payloads import Disconnect, SessionCreated
from wscore.reconnect import ReconnectPolicy
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from wsclient.clientsocket import ClientSocket

T = TypeVar("T")

DEFAULT_INBOX: Final = 1000
MAX_RETRY_AFTER_MS: Final = 10 * 60 * 1000  # no server may send a client away for longer
LASTING_S: Final = 10.0  # a connection that lived shorter is one more failed try


class Client:
    """A connection to a server, of wsctl or of another make, that survives the loss of its WebSocket.

        async with Client("ws://127.0.0.1:8765/socket.io/") as client:
            await client.send("message", "hello")
            print(await client.receive("message"))

    `protocol` says what the server speaks; by default that is found out. Without a token source it makes its own guest
    tokens, for a server that is known to be of wsctl and at the path of its clients, unless URL, headers or
    subprotocols carry a token. With `reconnect=None` the first loss is the end. Sizes in envelopes, times in seconds or
    ms as the names say; `now_ms`, `sleep` and `random` are for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        protocol: ProtocolSettings = ProtocolSettings(),
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
        self._now_ms = now_ms
        self._ours = wsctl_adapter(now_ms)
        self._chosen = protocol.adapter(now_ms)
        self._url = adapted_url(normalise_url(url), self._chosen)
        self.shown_url = shown_url(self._url)
        own_token = has_token(self._url) or (token is None and dial.has_token)
        self._token = None if own_token else token or GuestTokens(now_ms)
        is_auto = protocol.name is ProtocolName.AUTO
        # A guest is nobody: its token goes only to a server that is asked for as one of ours, or has shown to be one.
        self._is_guest_told = protocol.name is ProtocolName.WSCTL or (is_auto and is_seed_url(self._url))
        self._is_known = False
        self._session_id = session_id if is_auto or protocol.name is ProtocolName.WSCTL else None
        self._reconnect = reconnect
        self._auto_pong = auto_pong
        self._dial = dial.offering(self._chosen.subprotocols)
        self._inbox = Inbox(inbox_limit)
        self._sleep = sleep
        self._random = random
        self._protocol = MessageProtocol(now_ms)
        self._watchers: list[Callable[[Event], None]] = []
        self._replies = Replies()
        self._socket: ClientSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry_after_ms = 0
        self._failures = 0  # since a connection that lasted
        self._used_token = ""
        self.adapter = self._chosen
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
        """Send one message, as the protocol wraps it.

        Raises NotConnectedError while there is no connection, InvalidMessageError for what the protocol cannot say.
        """
        await self.send_raw(self.adapter.wrap(type, data, id))

    async def send_envelope(self, envelope: Envelope | OutboundEnvelope) -> None:
        """Send a finished envelope; raises NotConnectedError while there is no connection."""
        await self.send_raw(self._protocol.serialize(envelope).decode())

    async def send_raw(self, frame: Frame) -> None:
        """Send a frame as it is, valid or not, bytes as a binary one; raises NotConnectedError without a connection.

        A wsctl server takes no binary frames: it closes with 1003.
        """
        socket = self._socket
        if socket is None or self.state is not ClientState.OPEN or not await socket.send(frame):
            raise NotConnectedError
        self._tell_sent(frame)

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

    async def _run(self, greeting: Greeting | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            while greeting is not None:
                began_s = loop.time()
                end = await self._read(greeting)
                self._socket = self.session = None
                if loop.time() - began_s >= LASTING_S:
                    self._failures = 0
                is_ours = greeting.is_ours or greeting.is_presumed
                self._tell(Closed(end.code, end.reason, is_ours))
                error = ConnectionClosedError(end.code, end.reason, is_ours=is_ours)
                self._replies.fail(error)
                greeting = await self._come_back(error)
        except Exception as error:  # of the token source or a watcher: whoever waits for an envelope gets it
            await self._give_up(error)

    async def _come_back(self, closed: ConnectionClosedError) -> Greeting | None:
        """Reconnect as the table says; None when that is over, whoever waits then knows why."""
        problem: Exception = closed
        code = closed.deciding_code
        is_refused = closed.is_ours and closed.code == CloseCode.AUTH_FAILED
        if is_refused:
            problem = AuthenticationRefusedError(ErrorCode.AUTH_EXPIRED, closed.reason)
        refused_token = self._used_token if is_refused else None
        while self._reconnect is not None and self._reconnect.may_retry(code, self._failures):
            if is_refused and self._failures:
                break  # a fresh token was taken, and refused again at once
            delay_ms = self._reconnect.delay_ms(self._failures, self._random(), self._retry_after_ms)
            self._retry_after_ms = 0
            self._failures += 1
            self._move(ClientState.WAITING)
            summary = str(problem)
            if isinstance(problem, ConnectionClosedError | ConnectionFailedError):
                summary = problem.summary
            self._tell(Reconnecting(self._failures, delay_ms, summary))
            await self._sleep(delay_ms / 1000)
            self._move(ClientState.CONNECTING)
            try:
                return await self._open(refused_token)
            except AuthenticationRefusedError as error:
                problem = error  # a fresh token was refused: the next one would be too
                break
            except TargetError as error:
                problem, code, is_refused = error, CloseCode.ABNORMAL, False
                if isinstance(error, HandshakeRefusedError):
                    self._retry_after_ms = error.retry_after_ms
                    if not error.may_retry:
                        break
            except ConnectionClosedError as error:
                problem, code, is_refused = error, error.deciding_code, False
        await self._give_up(problem)
        return None

    async def _open(self, refused_token: str | None = None) -> Greeting:
        token = "" if self._token is None or not self._tells_token else await self._token()
        if token == refused_token:
            raise AuthenticationRefusedError(ErrorCode.AUTH_EXPIRED, "there is no newer token to try")
        self._used_token = token
        url = connect_url(self._url, token=token or None, session_id=self._session_id)
        from wsclient.clientsocket import ClientSocket  # its library takes a while to load

        socket = await ClientSocket.dial(url, self.shown_url, self._dial, self._tell)
        greeting = Greeting(socket, self._ours if self._is_known else self._chosen, self._is_guest_told)
        try:
            await greet(greeting, self._ours, self.shown_url, self._dial.open_timeout_s)
            if self.state is ClientState.CLOSED:
                raise NotConnectedError
            self._socket = socket
            self._move(ClientState.OPEN)
            self._opened(greeting)
        except BaseException as error:
            self._socket = self.session = None
            socket.abort()
            # A server of ours asks who we are, at a path where nobody could know that it is one.
            if isinstance(error, AuthenticationRefusedError) and self._may_introduce_itself(error):
                return await self._open()
            raise
        return greeting

    @property
    def _tells_token(self) -> bool:
        return self._is_guest_told or not isinstance(self._token, GuestTokens)

    def _may_introduce_itself(self, error: AuthenticationRefusedError) -> bool:
        may = error.code == ErrorCode.AUTH_REQUIRED and self._token is not None and not self._tells_token
        self._is_guest_told = self._is_guest_told or may
        return may

    def _opened(self, greeting: Greeting) -> None:
        """Take over what a greeting says: what is spoken, and the session, to which the client comes back."""
        self.adapter, self.session = greeting.adapter, greeting.session
        if greeting.session is not None:
            self._session_id = greeting.session.session_id
            self._is_guest_told = self._is_known = True
        self._tell(Opened(greeting.session, greeting.adapter.name))

    async def _read(self, greeting: Greeting) -> End:
        for is_sent, frame in greeting.frames:
            if is_sent:
                self._tell_sent(frame)
            else:
                await self._handle(frame, greeting, is_answered=True)
        greeting.frames.clear()
        async with Beating(greeting.adapter, self._replies, self.send_raw):
            while True:
                received = await greeting.socket.receive(greeting.silence_s)
                if isinstance(received, End):
                    return received
                if isinstance(received, bytes) and greeting.is_ours:
                    await greeting.socket.close(CloseCode.UNSUPPORTED_DATA, "binary frames are not spoken here")
                    return End(CloseCode.UNSUPPORTED_DATA, "the server sent a binary frame")
                await self._handle(received, greeting)

    async def _handle(self, frame: Frame, greeting: Greeting, *, is_answered: bool = False) -> None:
        was_ours = greeting.is_ours
        reading = greeting.read(frame, self._ours)
        if greeting.is_ours and not was_ours and greeting.session is not None:
            self._opened(greeting)
        envelope = reading.message
        text, binary = text_of_frame(frame)
        self._tell(Received(text, envelope, self._now_ms(), binary, reading.kind))
        if reading.answer is not None and not is_answered and self._auto_pong:
            if await greeting.socket.send(reading.answer, greeting.silence_s):
                self._tell_sent(reading.answer)
            return
        if envelope is None or (reading.kind is Kind.HEARTBEAT and self._auto_pong):
            return
        if envelope.type == "disconnect" and greeting.is_ours:
            self._retry_after_ms = _retry_after_ms(envelope)
        if reading.kind not in (Kind.REPLY, Kind.REFUSAL) or not self._replies.deliver(envelope):
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

    def _tell_sent(self, frame: Frame) -> None:
        text, binary = text_of_frame(frame)
        self._tell(Sent(text, self._now_ms(), self.adapter.read(frame).message, binary))

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            watcher(event)


def _retry_after_ms(envelope: Envelope) -> int:
    try:
        return min(max(0, decode_data(envelope.data, Disconnect).retry_after_ms), MAX_RETRY_AFTER_MS)
    except InvalidMessageError:
        return 0

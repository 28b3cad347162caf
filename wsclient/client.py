"""The client: connects, answers heartbeats, pairs replies with requests, and comes back as the close codes say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final

from wsclient.beating import Beating
from wsclient.clientcalls import ClientCalls, checked_rooms
from wsclient.dialling import DialOptions, End
from wsclient.errors import (
    AuthenticationRefusedError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeRefusedError,
    NotConnectedError,
)
from wsclient.events import TRANSITIONS, ClientState, Closed, Opened, Received, Reconnecting
from wsclient.following import TAKE, Following, Step
from wsclient.frametext import text_of_frame
from wsclient.greeting import Greeting, greet
from wsclient.tokens import GuestTokens, TokenSource
from wsclient.url import adapted_url, connect_url, has_token, is_seed_url, normalise_url, shown_url
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, decode_data
from wscore.errors import TargetError
from wscore.foreign import Frame, Kind, ProtocolName, ProtocolSettings
from wscore.payloads import Disconnect
from wscore.reconnect import ReconnectPolicy
from wscore.wallclock import now_ms

DEFAULT_INBOX: Final = 1000
MAX_RETRY_AFTER_MS: Final = 10 * 60 * 1000  # no server may send a client away for longer
REJOIN: Final = ("room.leave", "room.join")
_ANSWERS: Final = (Kind.REPLY, Kind.REFUSAL)
_GREETING, _HEARTBEAT = Kind.GREETING, Kind.HEARTBEAT
LASTING_S: Final = 10.0  # a connection that lived shorter is one more failed try


class Client(ClientCalls):
    """A connection to a server, of wsctl or of another make, that survives the loss of its WebSocket.

        async with Client("ws://127.0.0.1:8765/socket.io/") as client:
            await client.send("message", "hello")
            print(await client.receive("message"))

    `protocol` says what the server speaks; by default that is found out. Without a token source it makes its own guest
    tokens, for a server that is known to be of wsctl and at the path of its clients, unless URL, headers or
    subprotocols carry a token. With `reconnect=None` the first loss is the end.

    To a wsctl server it comes back into its session and its rooms, has what it missed replayed, and counts: nothing
    comes twice, and what is lost is an event. `rooms` are joined after every greeting, before anything else.

    Sizes in envelopes, times in seconds or ms as the names say; `now_ms`, `sleep` and `random` are for tests.
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
        rooms: Iterable[str] = (),
        inbox_limit: int = DEFAULT_INBOX,
        now_ms: Callable[[], int] = now_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._chosen = protocol.adapter(now_ms)
        following = Following(checked_rooms(rooms), self._tell, can_resume=reconnect is not None)
        super().__init__(self._chosen, following, inbox_limit, now_ms)
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
        self._sleep = sleep
        self._random = random
        self._task: asyncio.Task[None] | None = None
        self._retry_after_ms = 0
        self._failures = 0  # since a connection that lasted
        self._used_token = ""

    def __repr__(self) -> str:
        return f"Client({self.shown_url!r}, {self.state})"

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

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
        self._following.closed()
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

    async def _run(self, greeting: Greeting | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            while greeting is not None:
                began_s = loop.time()
                end = await self._read(greeting)
                self._socket = self.session = None
                self._following.closed()
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
        fields = self._following.resume_fields
        url = connect_url(self._url, token=token or None, session_id=self._session_id, resume=fields)
        from wsclient.clientsocket import ClientSocket  # its library takes a while to load

        socket = await ClientSocket.dial(url, self.shown_url, self._dial, self._tell)
        greeting = Greeting(socket, self._ours if self._is_known else self._chosen, self._is_guest_told)
        try:
            await greet(greeting, self._ours, self.shown_url, self._dial.open_timeout_s)
            if self.state is ClientState.CLOSED:
                raise NotConnectedError
            if greeting.is_ours:
                await self._join_rooms(greeting)
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

    async def _join_rooms(self, greeting: Greeting) -> None:
        for ask_id, join in self._following.joins():
            frame = self._ours.wrap("room.join", join, ask_id)
            if await greeting.socket.send(frame, greeting.silence_s):
                greeting.frames.append((True, frame))

    async def _read(self, greeting: Greeting) -> End:
        await self._read_first(greeting)
        async with Beating(greeting.adapter, self._replies, self.send_raw):
            while True:
                received = await greeting.socket.receive(greeting.silence_s)
                if isinstance(received, End):
                    return received
                if isinstance(received, bytes) and greeting.is_ours:
                    await greeting.socket.close(CloseCode.UNSUPPORTED_DATA, "binary frames are not spoken here")
                    return End(CloseCode.UNSUPPORTED_DATA, "the server sent a binary frame")
                if await self._handle(received, greeting) is Step.RESUME:
                    greeting.socket.abort()
                    return End(CloseCode.ABNORMAL, "events are missing")
                await self._read_first(greeting)

    async def _read_first(self, greeting: Greeting) -> None:
        """Tell what went to and fro while the connection became ready."""
        frames, greeting.frames = greeting.frames, []
        for is_sent, frame in frames:
            if is_sent:
                self._tell_sent(frame, self.adapter.read(frame).message)
            else:
                await self._handle(frame, greeting, is_answered=True)

    async def _handle(self, frame: Frame, greeting: Greeting, *, is_answered: bool = False) -> Step:
        was_ours = greeting.is_ours
        reading = greeting.read(frame, self._ours)
        envelope, kind = reading.message, reading.kind
        text, binary = (frame, None) if isinstance(frame, str) else text_of_frame(frame)
        if greeting.is_ours:
            if not was_ours and greeting.session is not None:
                await self._join_rooms(greeting)
                self._opened(greeting)
            if kind is _GREETING and greeting.session is not None and envelope is not None:
                self._following.greeted(greeting.session.recovery, envelope.timestamp)
            elif envelope is not None:
                step = self._following.take(envelope, text)
                if step is not TAKE:
                    if step is Step.REJOIN:
                        await self._rejoin(envelope)
                    return step
                if envelope.type == "disconnect":
                    self._retry_after_ms = _retry_after_ms(envelope)
        event = Received(text, envelope, self._now_ms(), binary, kind)
        for watcher in self._watchers:
            watcher(event)
        if reading.answer is not None and not is_answered and self._auto_pong:
            if await greeting.socket.send(reading.answer, greeting.silence_s):
                self._tell_sent(reading.answer, self.adapter.read(reading.answer).message)
            return TAKE
        if envelope is None or (kind is _HEARTBEAT and self._auto_pong):
            return TAKE
        if kind in _ANSWERS and self._replies.deliver(envelope):
            return TAKE
        if not self._inbox.offer(envelope):
            await self._inbox.put(envelope)
        return TAKE

    async def _rejoin(self, envelope: Envelope) -> None:
        """Close a gap of a room at once."""
        if envelope.room is None:
            return
        with suppress(NotConnectedError):  # the next connection will do
            for (ask_id, data), type in zip(self._following.rejoin(envelope.room), REJOIN, strict=True):
                await self.send_raw(self._ours.wrap(type, data, ask_id))

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


def _retry_after_ms(envelope: Envelope) -> int:
    try:
        return min(max(0, decode_data(envelope.data, Disconnect).retry_after_ms), MAX_RETRY_AFTER_MS)
    except InvalidMessageError:
        return 0

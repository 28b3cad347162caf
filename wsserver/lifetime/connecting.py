"""Between a handshake and its session: while an app's hooks decide, and a shared broker gets the session ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from wscore.codes import ERRORS, ErrorCode
from wscore.disconnects import (
    BINARY_MESSAGE,
    BROKER_DOWN,
    HOOK_FAILED,
    INTERNAL_ERROR,
    OF_AUTH_ERRORS,
    RATE_LIMIT,
    REFUSED_BY_APP,
    SHUTDOWN,
    SLOW_CONSUMER,
    TOKEN_EXPIRED,
    TOKEN_MISSING,
    Disconnect,
    DisconnectError,
    disconnect_of,
)
from wscore.envelope import UnsendableError
from wscore.principal import AuthError, Principal
from wscore.recovery import read_position
from wsserver.brokers.base import SESSION, USER, Broker
from wsserver.connections.handlerqueue import HandlerTasks
from wsserver.connections.peerclose import PeerCloseWatcher
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.state import Connection
from wsserver.engines.channel import Channel
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.upgrade import NOBODY, Upgrade
from wsserver.lifetime.controller import WebSocketController
from wsserver.sdk.connecting import ConnectRefusedError, ConnectRequest
from wsserver.sdk.errors import AppError, AppErrorCode, meaning_of
from wsserver.sdk.failures import Failures
from wsserver.sdk.handlers import Handler, is_awaited
from wsserver.sdk.hub import Hub
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog

MAX_WAITING: Final = 64  # messages that came along with the handshake; the peer is not read meanwhile


class DecidingBackend(Protocol):
    """What decides about a client somewhere else."""

    async def ask(self, asked: ConnectRequest, until_s: float) -> None:
        """Have it decide until a moment on the clock of the loop; raises AppError, DisconnectError if it did not."""

    def close(self) -> None:
        """Ask no more."""


class Newcomer:
    """A client about which the hooks decide, and the one handle that the engine has of it for good.

    `claim` is the user whom the limits count it for while it has no `connection`, None once they do not.
    """

    __slots__ = ("channel", "claim", "connection", "is_over", "size", "task", "waiting")

    def __init__(self, channel: Channel, claim: str) -> None:
        self.channel = channel
        self.claim: str | None = claim
        self.connection: Connection | None = None
        self.is_over = False
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[bytes] = []
        self.size = 0

    def has_gone(self) -> bool:
        """Whether nothing is to be decided any more; it may go while something is awaited."""
        return self.is_over


class ConnectingRoom:
    """Asks the hooks about each newcomer, then hands it to the controller, or refuses it (engines' `Gateway`).

    What arrives meanwhile waits, within bounds. A backend is asked before the hooks of the app; all of them have
    `timeout_s` altogether.
    """

    __slots__ = (
        "_backend",
        "_broker",
        "_clock",
        "_close_watcher",
        "_connections",
        "_controller",
        "_failures",
        "_hooks",
        "_hub",
        "_log",
        "_max_bytes",
        "_new_state",
        "_newcomers",
        "_tasks",
        "_timeout_s",
        "_upgrade",
    )
    holds_back = False

    def __init__(
        self,
        backend: DecidingBackend | None,
        hooks: Sequence[Handler],
        controller: WebSocketController,
        upgrade: Upgrade,
        broker: Broker,
        connections: ConnectionManager,
        hub: Hub,
        new_state: Callable[[], Any],
        tasks: HandlerTasks,
        failures: Failures,
        clock: Clock,
        log: EventLog,
        *,
        timeout_s: float,
        max_message_bytes: int,
    ) -> None:
        self._backend = backend
        self._hooks = hooks
        self._controller = controller
        self._upgrade = upgrade
        self._broker = broker
        self._connections = connections
        self._hub = hub
        self._new_state = new_state
        self._tasks = tasks
        self._failures = failures
        self._clock = clock
        self._log = log
        self._timeout_s = timeout_s
        self._max_bytes = max_message_bytes
        self._close_watcher = PeerCloseWatcher()
        self._newcomers: set[Newcomer] = set()

    def opened(self, request: HandshakeRequest, channel: Channel) -> Newcomer | None:
        """Ask the hooks about a connection, unless it is refused without them."""
        try:
            principal, claims = self._upgrade.identify(request)
        except (DisconnectError, AuthError) as error:
            self._controller.refuse(request, channel, disconnect_of(error))
            return None
        newcomer = Newcomer(channel, NOBODY if principal is None else principal.user_id)
        asked: ConnectRequest = ConnectRequest(
            request, principal, claims, self._hub, self._new_state, self._clock.now_ms
        )
        channel.pause_reading()
        self._close_watcher.watch(channel)
        self._newcomers.add(newcomer)
        newcomer.task = self._tasks.start(self._decide(newcomer, request, asked))
        newcomer.task.add_done_callback(lambda _: self._release(newcomer, request))
        return newcomer

    def text(self, newcomer: Newcomer, payload: bytes) -> None:
        """Handle one text message, or let it wait for the decision."""
        if newcomer.connection is not None:
            self._controller.text(newcomer.connection, payload)
        elif not newcomer.is_over:
            newcomer.waiting.append(payload)
            newcomer.size += len(payload)
            if len(newcomer.waiting) > MAX_WAITING or newcomer.size > self._max_bytes:
                self._end(newcomer, RATE_LIMIT.saying("Too much was sent before session_created"))

    def binary(self, newcomer: Newcomer, payload: bytes) -> None:
        """Refuse a binary message."""
        if newcomer.connection is not None:
            self._controller.binary(newcomer.connection, payload)
        else:
            self._end(newcomer, BINARY_MESSAGE)

    def control(self, newcomer: Newcomer) -> bool:
        """Note a ping or pong frame; returns whether a ping deserves its pong."""
        return newcomer.connection is None or self._controller.control(newcomer.connection)

    def slow(self, newcomer: Newcomer) -> None:
        """Close a connection that reads too slowly."""
        if newcomer.connection is not None:
            self._controller.slow(newcomer.connection)
        else:
            self._end(newcomer, SLOW_CONSUMER)

    def closed(self, newcomer: Newcomer, code: int, reason: str, disconnect: Disconnect | None) -> None:
        """Forget a connection; hooks that still decide about it are cancelled."""
        if newcomer.connection is not None:
            self._controller.closed(newcomer.connection, code, reason, disconnect)
        else:
            self._give_up(newcomer)

    async def wait_decided(self, within_s: float) -> None:
        """Wait until nobody waits for a decision, and no longer than `within_s`."""
        tasks = [newcomer.task for newcomer in self._newcomers if newcomer.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def close_all(self) -> None:
        """Say goodbye to all that wait for a decision: the server shuts down."""
        for newcomer in tuple(self._newcomers):
            self._end(newcomer, SHUTDOWN)
        if self._backend is not None:
            self._backend.close()

    def _end(self, newcomer: Newcomer, disconnect: Disconnect) -> None:
        if not newcomer.is_over:
            self._give_up(newcomer)
            newcomer.channel.close(disconnect)

    def _give_up(self, newcomer: Newcomer) -> None:
        newcomer.is_over = True
        newcomer.waiting.clear()
        if newcomer.task is not None:
            newcomer.task.cancel()

    def _release(self, newcomer: Newcomer, request: HandshakeRequest) -> None:
        """Count a newcomer out of those that wait; one that was let in the limits count by its connection."""
        self._newcomers.discard(newcomer)
        self._close_watcher.forget(newcomer.channel)
        newcomer.task = None
        if newcomer.claim is not None:
            self._upgrade.release(request, newcomer.claim)
            newcomer.claim = None
        if newcomer.connection is None and not newcomer.is_over:  # its task was cancelled by others: the server ends
            self._end(newcomer, SHUTDOWN)

    async def _decide(self, newcomer: Newcomer, request: HandshakeRequest, asked: ConnectRequest) -> None:
        refusal: DisconnectError | None = None
        details: dict[str, object] | None = None
        try:
            until_s = asyncio.get_running_loop().time() + self._timeout_s
            if self._backend is not None:
                await self._backend.ask(asked, until_s)
            async with asyncio.timeout_at(until_s):
                for hook in self._hooks:
                    result: Any = hook.function(asked)
                    if result is not None and is_awaited(result):
                        await result
        except BaseException as error:  # an app's code may raise anything
            if newcomer.is_over or self._tasks.is_cancelling or isinstance(error, GeneratorExit):
                raise
            if isinstance(error, AppError) and self._is_known(error.code):
                refusal, details = _refusal_of(error), error.details
            elif isinstance(error, DisconnectError):
                refusal = error
            else:
                self._failures.connecting(error)
                refusal = DisconnectError(HOOK_FAILED)
        if newcomer.is_over:
            return
        if refusal is None:
            refusal = await self._admit(newcomer, request, asked)
        if newcomer.has_gone():
            return
        if refusal is not None:
            newcomer.is_over = True
            newcomer.waiting.clear()
            self._refuse(newcomer, request, refusal, details)

    def _is_known(self, code: str) -> bool:
        return code in ERRORS or isinstance(code, AppErrorCode)

    def _refuse(
        self,
        newcomer: Newcomer,
        request: HandshakeRequest,
        refusal: DisconnectError,
        details: dict[str, object] | None,
    ) -> None:
        try:
            self._controller.refuse(request, newcomer.channel, refusal, details)
        except (UnsendableError, TypeError) as error:  # an app's text or details, or the code of another app
            self._failures.connecting(error)
            self._controller.refuse(request, newcomer.channel, DisconnectError(HOOK_FAILED))

    async def _admit(
        self, newcomer: Newcomer, request: HandshakeRequest, asked: ConnectRequest
    ) -> DisconnectError | None:
        """Let a newcomer in; returns why not."""
        principal, claim = asked.principal, newcomer.claim
        assert claim is not None
        if principal is None:
            return DisconnectError(TOKEN_MISSING)
        if self._upgrade.draining:
            return DisconnectError(SHUTDOWN)
        if self._has_expired(principal):
            return DisconnectError(TOKEN_EXPIRED)
        try:
            session = self._upgrade.enter(request, principal, claim)
        except (DisconnectError, AuthError) as error:
            return disconnect_of(error)
        if self._broker.is_shared:
            newcomer.claim = principal.user_id  # the limits count it so until it is let in
            refusal = await self._make_ready(session.name, principal, request)
            if newcomer.has_gone() or refusal is not None:
                return refusal
            session = self._upgrade.session(session.name)  # somebody may have come into it meanwhile, or left it
        newcomer.claim = None
        try:
            newcomer.connection = connection = self._controller.welcome(
                request, newcomer.channel, principal, session, asked._state
            )
        except Exception as error:
            newcomer.is_over = True
            self._log.failure("connection.failed", error)
            newcomer.channel.close(INTERNAL_ERROR)
            return None
        waiting, newcomer.waiting = newcomer.waiting, []
        for payload in waiting:
            self._controller.text(connection, payload)
        if connection.handlers is None or not connection.handlers.holds_peer_back:
            newcomer.channel.resume_reading()
        return None

    async def _make_ready(
        self, session: str, principal: Principal, request: HandshakeRequest
    ) -> DisconnectError | None:
        """Have a session level with the other processes, and what the client missed at hand; returns why not."""
        asked = read_position(request.query("epoch"), request.query("seq"))
        try:
            if (user := self._connections.coming(principal)) is not None:
                await self._broker.ready(USER, user)
            await self._broker.ready(SESSION, session, asked)
            self._upgrade.check_revoked(principal)
        except TimeoutError:
            return DisconnectError(BROKER_DOWN)
        except AuthError as error:
            return disconnect_of(error)
        if self._has_expired(principal):
            return DisconnectError(TOKEN_EXPIRED)
        return DisconnectError(SHUTDOWN) if self._upgrade.draining else None

    def _has_expired(self, principal: Principal) -> bool:
        """Tell whether a token's time ran out while the hooks, or the broker, took theirs."""
        return principal.expires_at_ms <= self._clock.now_ms()


def _refusal_of(error: AppError) -> DisconnectError:
    """Return how a client is refused: the close code tells it what to do, as the code of the error has it."""
    code = error.code
    is_retryable = code.retryable if isinstance(code, AppErrorCode) else ERRORS[ErrorCode(code)].retryable
    disconnect = OF_AUTH_ERRORS.get(ErrorCode(code)) if code in ERRORS else None
    if disconnect is None:
        close_code = HOOK_FAILED.close_code if is_retryable else REFUSED_BY_APP.close_code
        disconnect = replace(REFUSED_BY_APP, close_code=close_code, error=str(code))
    if isinstance(error, ConnectRefusedError) and error.close_code is not None:
        disconnect = replace(disconnect, close_code=error.close_code)
    return DisconnectError(disconnect, error.message or meaning_of(code), "app")

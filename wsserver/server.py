"""One server: builds its rooms from the settings, listens, keeps the heartbeat going, and shuts down."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from wscore.guest import GuestMode
from wscore.resume import ResumeTokens
from wscore.revocations import Revocations
from wscore.secrets import MIN_SECRET_BYTES
from wscore.text import system_words
from wsserver.builders import (
    authentication_of,
    broker_of,
    connecting_of,
    declared_of,
    engine_of,
    giving_back_of,
    hosts_of,
    inbound_of,
    listen,
    new_id,
    operations_of,
    proxies_of,
    reception_of,
    resources_of,
    share_presence,
    tls_of,
    unfinished_of,
    url_of,
    webhooks_of,
    welcome_of,
)
from wsserver.connections.delivery import Delivery
from wsserver.connections.groups import Groups
from wsserver.connections.handlerqueue import HandlerTasks
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.replays import Replays
from wsserver.connections.revoking import Revoking
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.sessions import SessionService
from wsserver.connections.users import UserGroups
from wsserver.engines.listener import Listener, ListenError
from wsserver.engines.networks import TrustedNetworks
from wsserver.handshake.limits import ConnectionLimiter
from wsserver.handshake.origins import OriginPolicy
from wsserver.handshake.signpost import SignPost
from wsserver.handshake.upgrade import Upgrade, path_variants
from wsserver.lifetime.calls import AppCalls
from wsserver.lifetime.controller import WebSocketController
from wsserver.lifetime.drain import Drain
from wsserver.lifetime.echo import EchoRoom
from wsserver.lifetime.endpoints import Endpoints
from wsserver.lifetime.expiry import ExpiryWatch
from wsserver.lifetime.exposure import ExposureWatch
from wsserver.lifetime.heartbeats import Heartbeats
from wsserver.lifetime.presence import PresenceWatch
from wsserver.lifetime.publishing import PublishAnswers
from wsserver.lifetime.recovery import LostHistory, SessionResume
from wsserver.lifetime.rooms import RoomHandlers
from wsserver.lifetime.router import MessageRouter
from wsserver.numbers import show_numbers
from wsserver.outbound.backlog import Backlog
from wsserver.sdk.app import App, default_app
from wsserver.sdk.background import BackgroundTasks
from wsserver.sdk.failures import ExitRequest, Failures
from wsserver.sdk.hub import Hub
from wsserver.sdk.lifespans import LifespanError, Lifespans
from wsserver.sdk.requests import Requests
from wsserver.settings import Profile, ServerSettings
from wsserver.telemetry.budget import ALL, AbandonedError, Budget
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.descriptors import DescriptorWatch
from wsserver.telemetry.drops import DropWatch
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.telemetry.stalls import StallWatch

BROKER_ENDS_S: Final = 0.5  # behind the shutdown: for what is on its way to other processes
WEBHOOKS_END: Final = 0.1  # of the time of a shutdown: for the events that it makes itself
HANDSHAKES_END_S: Final = 1.0  # of a shutdown: for those that have begun, where others take the next ones


class WebSocketServer:
    """A server that can be started once and stopped once, on the running event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        app: App | None = None,
        *,
        app_settings: Sequence[object] = (),
        clock: Clock | None = None,
        log: EventLog | None = None,
        on_exit: Callable[[ExitRequest], None] | None = None,
        sockets: Sequence[socket.socket] = (),
        worker: int | None = None,
    ) -> None:
        """Build it; `app_settings` are objects of the classes that the app names, in place of their defaults.

        `on_exit` is told of a SystemExit or KeyboardInterrupt in the app, and has it stopped.

        Without `on_exit` it stops itself, then the exception ends the event loop. With `sockets`, which listen
        already and are shared with other processes, it accepts there and not at an address of its own; `worker` is
        its number among them, which its clients are told.
        """
        self.settings = settings
        self._clock = clock or Clock()
        self._log = log or EventLog()
        self._app = app or default_app()
        self.metrics = Metrics()
        self._tasks = HandlerTasks()
        self._on_exit = on_exit or self._stop_and_raise
        self._exiting: asyncio.Task[None] | None = None
        self._sockets: Listener | None = None
        self._shared = tuple(sockets)
        self._is_stopping = False

        own_errors = {code: declared.retryable for code, declared in self._app.errors.items()}
        protocol = self._app.protocol(self._clock.now_ms, own_errors)
        for code in own_errors:
            self.metrics.errors.know(code)
        loop = asyncio.get_running_loop()
        self._broker = broker = broker_of(settings, self._clock, self.metrics, self._log)
        self._resume_secret = settings.guest_secret
        self._resume_tokens = resume_tokens = ResumeTokens(settings.guest_secret or os.urandom(MIN_SECRET_BYTES))
        groups = Groups(broker)
        # A guest token that nobody signed can be written by anybody: outside dev its user gets nothing of its own.
        for_guests = settings.profile is Profile.DEV or settings.guests is not GuestMode.UNSIGNED
        users = UserGroups(groups, for_guests=for_guests, from_start=broker.is_shared)
        self.connections = ConnectionManager(groups, users, keeps_ended=broker.is_shared)
        sessions = SessionService(settings.session_join, groups, new_id)
        revocations = Revocations()
        authentication = authentication_of(settings, revocations, self._clock, self._log)
        self.backlog = Backlog(
            settings.outbound, self.metrics, call_later=loop.call_later, now_s=self._clock.now_s, log=self._log
        )
        self._delivery = Delivery(groups, self.backlog, protocol, self.metrics, call_soon=loop.call_soon)
        unread_limit = settings.outbound.per_connection // 2
        replays = Replays(broker, self._delivery, self.metrics, self._clock.now_s, unread_limit)
        sender = EnvelopeSender(protocol, self._delivery, self.metrics)
        reached = (broker, self.connections, sender, self._delivery)
        revoking = Revoking(revocations, *reached, loop.call_soon, self._clock, self._log)
        lost = LostHistory(self._delivery, protocol)
        broker.attach(self._delivery.deliver, lost.tell, PublishAnswers(self.connections, sender).unpublished)
        watch = PresenceWatch(
            groups, self._delivery, protocol, self.metrics, call_later=loop.call_later, now_s=self._clock.now_s
        )
        self._rooms = Rooms(groups, self._delivery, replays, sender, watch, settings.rooms)
        share_presence(broker, watch, self._rooms, self.metrics, self._clock)
        failures = Failures(self.metrics, self._log, self._exit)
        background = BackgroundTasks(failures)
        resources, requests = resources_of(self._app, app_settings), Requests()
        self.hub = Hub(
            protocol,
            broker,
            self._delivery,
            sender,
            self.connections,
            self._rooms,
            revoking,
            background,
            resources,
            requests,
            self._app.new_state,
            declared_of(self._app, settings),
            self.metrics,
        )
        own = (self.hub, broker, self.connections, groups, self.metrics, self._clock)
        self.operations = operations_of(*own, lambda: self.is_ready, self._log, worker)
        self._lifespans = Lifespans(self._app.lifespans, background, resources, self._log)
        expiry = ExpiryWatch(
            authentication,
            self.connections,
            sender,
            self._delivery,
            self.metrics,
            call_later=loop.call_later,
            clock=self._clock,
        )
        paths = path_variants(settings.path)
        echo_paths = frozenset[str]() if settings.echo_path is None else path_variants(settings.echo_path)
        limiter = ConnectionLimiter(settings.connections)
        origins = OriginPolicy(settings.origins, allow_loopback=settings.profile is Profile.DEV)
        self._trusted = TrustedNetworks(settings.trusted_proxies)
        self._upgrade = Upgrade(
            paths | echo_paths,
            hosts_of(settings, origins),
            origins,
            limiter,
            authentication,
            sessions,
            SignPost(settings.path),
            resume_tokens,
            broker,
        )
        self._inbound = inbound_of(settings, self._clock, self._log)
        calls = AppCalls(
            self._app,
            self.hub,
            self._rooms,
            self._tasks,
            self._inbound,
            settings.inbound_limits,
            failures,
            self.metrics,
            self._log,
        )
        self._unfinished = unfinished_of(settings, self._inbound, self._clock)
        held = (self.backlog, self._inbound, self._unfinished, calls.growth)
        giving_back = giving_back_of(self.connections, self._rooms, broker, self._clock, *held)
        self._drops = DropWatch(self.metrics, self._log, self._clock.now_s)
        self._heartbeats = Heartbeats(
            settings.heartbeat,
            protocol,
            self._delivery,
            also=(
                DescriptorWatch(self._log, self._clock.now_s).check,
                self._drops.check,
                expiry.check_clock,
                broker.check,
                self.operations.check,
                self._unfinished.check,
                giving_back.check,
                revoking.check,
            ),
            stalls=StallWatch(self._log, self.metrics, self._clock.now_s),
            clock=self._clock,
            metrics=self.metrics,
        )
        is_dev = settings.profile is Profile.DEV
        room_handlers = RoomHandlers(
            self._rooms, replays, self.connections, sender, calls, self._app.join_hooks, is_open=is_dev
        )
        expiry.on_refresh = room_handlers.refreshed
        router = MessageRouter(sender, self._rooms, self.metrics, self._log, helps=is_dev)
        for room in (self._heartbeats, expiry, room_handlers, calls):
            room.register(router)
        self._controller = WebSocketController(
            upgrade=self._upgrade,
            connections=self.connections,
            rooms=self._rooms,
            delivery=self._delivery,
            sender=sender,
            protocol=protocol,
            router=router,
            calls=calls,
            requests=requests,
            expiry=expiry,
            wheel=self._heartbeats.wheel,
            welcome=welcome_of(settings, self._clock, new_id, worker),
            resume=SessionResume(replays, resume_tokens),
            metrics=self.metrics,
            log=self._log,
        )
        self._webhooks = webhooks_of(
            settings, broker, self._controller, self._rooms, self._clock, self.metrics, self._log
        )
        self._connecting = connecting_of(
            settings,
            self._app,
            self._controller,
            self._upgrade,
            broker,
            self.connections,
            self.hub,
            self._tasks,
            failures,
            self._clock,
            self.metrics,
            self._log,
        )
        self._echo = EchoRoom(self._upgrade, limiter, self._log)
        self._drain = Drain(
            connections=self.connections,
            echo=self._echo,
            sender=sender,
            delivery=self._delivery,
            tasks=self._tasks,
            heartbeats=self._heartbeats,
            lifespans=self._lifespans,
            random=random.random,
            log=self._log,
        )
        self._exposure = ExposureWatch(settings, origins, self._log)
        parts = (self.connections, groups, self._rooms, *held)
        show_numbers(self.metrics, *parts, broker, revocations, self._webhooks, self._log)
        gateway = self._connecting or self._controller
        proxies = proxies_of(settings, self._trusted)
        self._upgrades = Endpoints(proxies, self._upgrade, gateway, self._echo, echo_paths, self._exposure)

    async def start(self) -> None:
        """Run the app's lifespan up to its yield, then listen; raises ListenError, or ConfigError if the app fails."""
        settings = self.settings
        tls = tls_of(settings)
        engine = engine_of(settings, self.backlog, self._unfinished, self._log)
        await self._broker.start()
        if self._resume_secret is None:
            await self._broker.share("resume-secret", os.urandom(MIN_SECRET_BYTES), self._resume_tokens.rekey)
        try:
            await self._lifespans.enter(self.hub)
        except BaseException:
            await self._broker.stop(0)
            raise
        try:
            parts = (self._upgrades, engine, self._trusted, tls, self.metrics, self._clock, self._log)
            self._sockets = await listen(settings, reception_of(settings, *parts), self._shared)
        except BaseException as error:
            with suppress(LifespanError):  # it is logged, and not why the server does not start
                await self._lifespans.leave(Budget(settings.drain_timeout_ms / 1000))
            await self._broker.stop(0)
            if not isinstance(error, OSError):
                raise
            if settings.uds is not None:
                raise ListenError(settings.uds, system_words(error), "--uds") from None
            raise ListenError(f"{settings.host}:{settings.port}", system_words(error)) from None
        if self._webhooks is not None:
            self._webhooks.start()
        self._heartbeats.start()
        self.operations.check()  # the other processes know of this one from now on
        self._exposure.started()
        self._log.info("server.listening", url=self.url, engine=settings.resolved_engine.value)

    async def stop(self) -> None:
        """Shut down gracefully: refuse newcomers, close everyone with 1001, finish handlers, end the lifespans.

        All of it takes no longer than the drain time; when cancelled it drops at once what is left. Raises
        AbandonedError if code of the app has not ended by then, LifespanError if it failed at its end. A server that
        does not listen is left alone.
        """
        if self._sockets is None or self._is_stopping:
            return
        self._is_stopping = True
        budget = Budget(self.settings.drain_timeout_ms / 1000)
        if self._shared:
            handshakes_s = min(HANDSHAKES_END_S, budget.left_s(ALL) / 4)
            await self._sockets.leave_to_others(handshakes_s)
            if self._connecting is not None:
                await self._connecting.wait_decided(handshakes_s)
        self._upgrade.draining = True
        if self._connecting is not None:
            self._connecting.close_all()
        try:
            left_ms = round(budget.left_s(ALL) * 1000) if self._shared else self.settings.drain_timeout_ms
            kept_ms = 0 if self._webhooks is None else int(left_ms * WEBHOOKS_END)
            await self._drain.run(left_ms - kept_ms, self._stop_listening)
        finally:
            self.operations.leave()
            try:
                if self._webhooks is not None:
                    await self._webhooks.stop(budget, self._broker.occupied_told)
            finally:
                await self._broker.stop(BROKER_ENDS_S)

    @property
    def is_ready(self) -> bool:
        """Whether it takes newcomers, and reaches what it shares with other processes."""
        return self._sockets is not None and not self._is_stopping and self._broker.is_up and not self._broker.problem

    def accept_at(self, sockets: Sequence[socket.socket]) -> None:
        """Accept at sockets of another process too, which is down; only while it listens."""
        if self._sockets is not None and not self._is_stopping:
            self._sockets.accept_at(sockets)

    def accept_no_more_at(self, sockets: Sequence[socket.socket]) -> None:
        """Leave them to that process again; connections that came there stay."""
        if self._sockets is not None and not self._is_stopping:
            self._sockets.accept_no_more_at(sockets)

    def _stop_listening(self) -> None:
        assert self._sockets is not None
        self._sockets.close()
        self._drops.tell()

    def _exit(self, error: ExitRequest) -> None:
        self._log.warning("server.exiting", cause=type(error).__name__)
        self._on_exit(error)

    def _stop_and_raise(self, error: ExitRequest) -> None:
        async def run() -> None:
            with suppress(AbandonedError, LifespanError):  # the log has them
                await self.stop()
            raise error  # past the event loop, as asyncio lets it

        if self._exiting is None and not self._is_stopping:
            self._exiting = asyncio.get_running_loop().create_task(run())

    @property
    def url(self) -> str:
        """Where clients connect: a ws or wss URL, or the path of the Unix socket; only while it listens."""
        assert self._sockets is not None
        return url_of(self.settings, self._sockets.addresses[0])

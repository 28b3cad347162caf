"""Parts of a server that take more than a line to be made from its settings."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wscore.guest import GuestVerifier
from wscore.payloads import Heartbeat, Limits, RateLimit
from wscore.revocations import Revocations
from wscore.tokens import JwtVerifier
from wsserver.brokers.base import Broker
from wsserver.brokers.memory import MemoryBroker, random_epoch
from wsserver.brokers.places import BrokerLists
from wsserver.connections.groups import Groups
from wsserver.connections.handlerqueue import HandlerTasks
from wsserver.connections.inbound import InboundMemory
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.rooms import Rooms
from wsserver.engines.arrival import Reception
from wsserver.engines.base import Engine, EngineSettings, UpgradeHandler
from wsserver.engines.certificate import server_context
from wsserver.engines.listener import Listener, listen_tcp, listen_unix
from wsserver.engines.networks import TrustedNetworks
from wsserver.engines.pending import Pending
from wsserver.engines.unfinished import Unfinished
from wsserver.handshake.authentication import AuthenticationHandler
from wsserver.handshake.forwarded import Proxies
from wsserver.handshake.hosts import HostPolicy
from wsserver.handshake.jwksfile import JwksFile
from wsserver.handshake.origins import OriginPolicy
from wsserver.handshake.upgrade import Upgrade
from wsserver.lifetime.connecting import ConnectingRoom
from wsserver.lifetime.controller import WebSocketController
from wsserver.lifetime.givingback import CONNECTION_BYTES, GivingBack
from wsserver.lifetime.presence import PresenceWatch
from wsserver.lifetime.sharedpresence import SharedPresence
from wsserver.lifetime.welcome import Welcome
from wsserver.operations.asking import SingleProcess
from wsserver.operations.cluster import Cluster
from wsserver.operations.node import Node
from wsserver.outbound.backlog import Backlog
from wsserver.outbound.memory import Held
from wsserver.sdk.app import App
from wsserver.sdk.appsettings import settings_of
from wsserver.sdk.declared import DeclaredTypes
from wsserver.sdk.failures import Failures
from wsserver.sdk.hub import Hub
from wsserver.sdk.resources import Resources
from wsserver.settings import EngineName, Profile, ServerSettings
from wsserver.telemetry.clock import Clock, TurnClock
from wsserver.telemetry.descriptors import descriptor_limit
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.webhooks.settings import WebhookEvent

if TYPE_CHECKING:
    from wsserver.webhooks.connecting import ConnectingBackend
    from wsserver.webhooks.sending import Webhooks


def announced_limits(settings: ServerSettings) -> Limits:
    """Return the limits that every client is told of in its greeting."""
    messages, octets = (
        None if rate is None else RateLimit(rate.per_second, rate.burst)
        for rate in (settings.rates.messages, settings.rates.octets)
    )
    return Limits(settings.max_message_bytes, messages, octets)


def new_id() -> str:
    """Return an id of a connection or a session that nobody can guess."""
    return str(uuid.uuid4())


def operations_of(
    hub: Hub,
    broker: Broker,
    connections: ConnectionManager,
    groups: Groups,
    metrics: Metrics,
    clock: Clock,
    is_ready: Callable[[], bool],
    log: EventLog,
    worker: int | None,
) -> SingleProcess:
    """Return what answers for this process, and asks the others, whoever serves the operations port."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    node = Node(
        name,
        hub,
        broker,
        connections,
        groups,
        metrics,
        is_ready=is_ready,
        now_ms=clock.now_ms,
        log=log,
        worker=worker,
    )
    return SingleProcess(node, Cluster(node, broker, clock.now_s, metrics.unreadable_orders))


def welcome_of(settings: ServerSettings, clock: Clock, new_id: Callable[[], str], worker: int | None) -> Welcome:
    """Return what greets newcomers; `new_id` supplies unguessable ids, `worker` is the number of this process."""
    heartbeat = Heartbeat(settings.heartbeat.interval_ms, settings.heartbeat.timeout_ms)
    return Welcome(heartbeat, announced_limits(settings), settings.rates, clock, new_id, worker)


def authentication_of(
    settings: ServerSettings, revocations: Revocations, clock: Clock, log: EventLog
) -> AuthenticationHandler:
    """Return what decides about tokens."""
    guests = GuestVerifier(settings.guests, secret=settings.guest_secret, ttl_ms=settings.guest_ttl_ms)
    key, file = settings.jwt_key, settings.jwks_file
    if key is None:
        return AuthenticationHandler(None, guests, clock.now_ms, revocations)
    jwt = JwtVerifier(key, issuer=settings.issuer, audience=settings.audience, names=settings.claim_names)
    jwks = None if file is None else JwksFile(file, key, clock.now_s, log)
    return AuthenticationHandler(jwt, guests, clock.now_ms, revocations, jwks)


def hosts_of(settings: ServerSettings, origins: OriginPolicy) -> HostPolicy:
    """Return what decides about Host headers."""
    is_enforced = not origins.allows_any and (settings.is_local or bool(settings.allowed_hosts))
    return HostPolicy(origins.hosts.union(settings.allowed_hosts), is_enforced=is_enforced)


def resources_of(app: App, app_settings: Sequence[object]) -> Resources:
    """Return what an app works with from the start on: its settings, the given ones or their defaults."""
    resources = Resources()
    for own in settings_of(app.settings, app_settings):
        resources.add(own)
    return resources


def declared_of(app: App, settings: ServerSettings) -> DeclaredTypes | None:
    """Return what the dev profile holds an app's messages against, if the app has declared any."""
    if settings.profile is not Profile.DEV or not (app.sent or app.replies):
        return None
    return DeclaredTypes(app.sent, app.replies)


def engine_of(settings: ServerSettings, backlog: Backlog, unfinished: Unfinished, log: EventLog) -> Engine:
    """Return the engine that was chosen."""
    engine_settings = EngineSettings(
        settings.max_message_bytes,
        settings.close_timeout_ms / 1000,
        settings.compression,
    )
    # Imported here: each engine is a dependency that the other does not need.
    if settings.resolved_engine is EngineName.PICOWS:
        from wsserver.engines.picows import PicowsEngine

        return PicowsEngine(engine_settings, backlog, unfinished, log)
    from wsserver.engines.websockets import WebsocketsEngine

    return WebsocketsEngine(engine_settings, backlog, unfinished, log)


def broker_of(settings: ServerSettings, clock: Clock, metrics: Metrics, log: EventLog) -> Broker:
    """Return what carries messages to groups; on the running event loop."""
    now_s = TurnClock(clock.now_s, asyncio.get_running_loop().call_soon).now_s
    limits, targets = settings.recovery_limits, settings.brokers
    if not targets:
        return MemoryBroker(limits, now_s=now_s)
    from wsserver.brokers.redis import RedisBroker  # an extra brings what it needs
    from wsserver.brokers.sharded import ShardedBroker

    process = random_epoch()
    lists = BrokerLists(list(map(str, targets)), list(map(str, settings.broker_before)), log)
    limits = limits.shared_by(len(targets))
    brokers = [
        RedisBroker(
            *(target, settings.broker_prefix, limits),
            process=process,
            lists=lists,
            now_s=now_s,
            metrics=metrics,
            log=log,
        )
        for target in targets
    ]
    metrics.read_by(
        *("broker", "wsctl_broker_reached", "Whether each of the brokers is reached: 1 or 0", "gauge"),
        lambda: {broker.place: int(broker.is_up) for broker in brokers},
    )
    metrics.read(
        *("wsctl_broker_other_lists", "Other lists of brokers that processes were given beside this one", "gauge"),
        lambda: lists.others,
    )
    return brokers[0] if len(brokers) == 1 else ShardedBroker(brokers)


def share_presence(broker: Broker, watch: PresenceWatch, rooms: Rooms, metrics: Metrics, clock: Clock) -> None:
    """Have it known who is in rooms elsewhere, if there are other processes; on the running event loop."""
    if broker.is_shared:
        call_later = asyncio.get_running_loop().call_later
        SharedPresence(broker, watch, metrics, call_later=call_later, now_s=clock.now_s, free=lambda: rooms.free)


def reception_of(
    settings: ServerSettings,
    upgrades: UpgradeHandler,
    engine: Engine,
    trusted: TrustedNetworks,
    tls: ssl.SSLContext | None,
    metrics: Metrics,
    clock: Clock,
    log: EventLog,
) -> Reception:
    """Return what takes connections in that were just accepted."""
    timeout_s = settings.handshake_timeout_ms / 1000
    pending = Pending(settings.pending.within(descriptor_limit()), timeout_s, metrics, clock.now_s)
    tls_timeout_s = None if tls is None else timeout_s
    return Reception(upgrades, engine, pending, trusted, settings.proxy_protocol, metrics, log, tls, tls_timeout_s)


def tls_of(settings: ServerSettings) -> ssl.SSLContext | None:
    """Return what TLS is spoken with; raises ConfigError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return server_context(settings.tls_cert, settings.tls_key)


async def listen(settings: ServerSettings, reception: Reception, shared: Sequence[socket.socket]) -> Listener:
    """Accept at the `shared` sockets, or else where the settings say; raises OSError."""
    if shared:
        return Listener(reception, [listening.dup() for listening in shared])
    if settings.uds is not None:
        return listen_unix(reception, settings.uds, settings.uds_mode)
    return await listen_tcp(reception, settings.host, settings.port)


def webhooks_of(
    settings: ServerSettings,
    broker: Broker,
    controller: WebSocketController,
    rooms: Rooms,
    clock: Clock,
    metrics: Metrics,
    log: EventLog,
) -> Webhooks | None:
    """Return what tells backends of events, if any are to be told; it sees those that they want."""
    if settings.webhooks is None:
        return None
    from wsserver.webhooks.sending import Webhooks  # an extra brings what it needs

    webhooks = Webhooks(settings.webhooks, broker.process, clock, metrics, log)
    wanted = settings.webhooks.events
    if wanted & {WebhookEvent.CONNECTED, WebhookEvent.DISCONNECTED}:
        controller.witness = webhooks.events
    if wanted & {WebhookEvent.JOINED, WebhookEvent.LEFT}:
        rooms.witness = webhooks.events
    if wanted & {WebhookEvent.ROOM_OCCUPIED, WebhookEvent.ROOM_VACATED}:
        broker.attach_occupied(webhooks.events.room)
    return webhooks


def connecting_of(
    settings: ServerSettings,
    app: App,
    controller: WebSocketController,
    upgrade: Upgrade,
    broker: Broker,
    connections: ConnectionManager,
    hub: Hub,
    tasks: HandlerTasks,
    failures: Failures,
    clock: Clock,
    metrics: Metrics,
    log: EventLog,
) -> ConnectingRoom | None:
    """Return what decides about newcomers, if anybody does or they have to wait for a broker."""
    timeout_s = settings.handshake_timeout_ms / 1000
    backend: ConnectingBackend | None = None
    if settings.connecting is not None:
        from wsserver.webhooks.connecting import ConnectingBackend  # an extra brings what it needs

        process, errors = broker.process, app.errors
        backend = ConnectingBackend(settings.connecting, process, errors, clock, metrics, log, timeout_s=timeout_s)
    read = metrics.read
    waiting, size = (lambda: backend.waiting if backend else 0), (lambda: backend.size if backend else 0)
    read("wsctl_connecting_waiting", "Clients about whom a backend is to decide", "gauge", waiting)
    asked = "Questions about clients that a backend may have before it"
    read("wsctl_connecting_asked", asked, "gauge", lambda: backend.asked if backend else 0)
    read("wsctl_connecting_waiting_bytes", "Bytes of what it is asked about them", "gauge", size)
    if backend is None and not app.connecting_hooks and not broker.is_shared:
        return None
    return ConnectingRoom(
        backend,
        app.connecting_hooks,
        controller,
        upgrade,
        broker,
        connections,
        hub,
        app.new_state,
        tasks,
        failures,
        clock,
        log,
        timeout_s=timeout_s,
        max_message_bytes=settings.max_message_bytes,
    )


def proxies_of(settings: ServerSettings, trusted: TrustedNetworks) -> Proxies:
    """Return what believes proxies about their clients."""
    return Proxies(
        trusted,
        settings.forwarded_header,
        forwarded_host=settings.forwarded_host,
        by_tls=settings.tls_cert is not None,
    )


def inbound_of(settings: ServerSettings, clock: Clock, log: EventLog) -> InboundMemory:
    """Return what bounds what waits for handlers; on the running event loop."""
    call_later = asyncio.get_running_loop().call_later
    return InboundMemory(
        settings.inbound_limits, settings.max_message_bytes, call_later=call_later, now_s=clock.now_s, log=log
    )


def giving_back_of(
    connections: ConnectionManager, rooms: Rooms, broker: Broker, clock: Clock, *holders: Held
) -> GivingBack:
    """Return what gives memory back that was freed."""
    sampled = (lambda: len(connections) * CONNECTION_BYTES, lambda: rooms.used, lambda: broker.size)
    return GivingBack(holders, sampled, clock.now_s)


def unfinished_of(settings: ServerSettings, inbound: InboundMemory, clock: Clock) -> Unfinished:
    """Return what bounds messages that are on their way; on the running event loop."""
    return Unfinished(
        settings.inbound_limits.in_all,
        settings.max_message_bytes,
        lambda: inbound.used,
        call_soon=asyncio.get_running_loop().call_soon,
        now_s=clock.now_s,
    )


def url_of(settings: ServerSettings, address: tuple[str, int] | str) -> str:
    """Return where clients connect that go to an address of ours: a ws or wss URL, or the path of the Unix socket."""
    if isinstance(address, str):
        return address
    scheme = "ws" if settings.tls_cert is None else "wss"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}{settings.path}"

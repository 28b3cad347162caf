"""The options of `wsctl serve` by subject, and the settings of a server that they make."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cli.options.ops import OpsOptions
from cli.options.recovery import RecoveryOptions
from cli.options.scale import ScaleOptions
from cli.options.tokens import JwtOptions, refuse_empty
from cli.options.webhooks import WebhookOptions
from cli.settings import duration_option, mode_option, size_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError
from wscore.guest import GUEST_TTL_MS, GuestMode
from wscore.heartbeat import HeartbeatPolicy
from wscore.ratelimit import Rate
from wsserver.connections.inbound import InboundLimits
from wsserver.connections.ratelimits import RatePolicy
from wsserver.connections.rooms import DEFAULT_MAX_ROOMS, DEFAULT_ROOM_MEMORY, RoomLimits
from wsserver.connections.sessions import SessionJoin
from wsserver.engines.pending import PendingLimits
from wsserver.handshake.forwarded import ForwardedHeader
from wsserver.handshake.limits import ConnectionLimits
from wsserver.outbound.backlog import OUTBOUND_IN_ALL, OutboundLimits, outbound_per_connection
from wsserver.settings import (
    DEFAULT_HOST,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_PENDING,
    DEFAULT_PATH,
    DEFAULT_PORT,
    DEFAULT_UDS_MODE,
    EngineName,
    Profile,
    ProfileDefaults,
    ServerSettings,
    default_profile,
    profile_defaults,
)
from wsserver.telemetry.logs import LogFormat

BY_PROFILE: Final = "by profile"
BURST_SECONDS: Final = 2  # a burst is what two seconds allow


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ListenOptions(OptionGroup, frozen=True, kw_only=True):
    """Where the server listens, and how."""

    TITLE: ClassVar = "Listen"

    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = DEFAULT_HOST
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")] = DEFAULT_PORT
    path: Annotated[str, typer.Option(metavar="PATH", help="Path of the WebSocket endpoint.")] = DEFAULT_PATH
    echo_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Echo raw messages here, without auth: for conformance suites.")
    ] = None
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Listen on this Unix socket instead.")] = None
    uds_mode: Annotated[int, mode_option("Permissions of the Unix socket's file.", show_default="0666")] = (
        DEFAULT_UDS_MODE
    )
    profile: Annotated[
        Profile | None, typer.Option(help="Defaults for this machine or the network.", show_default="dev on loopback")
    ] = None
    engine: Annotated[EngineName, typer.Option(help="WebSocket engine.")] = EngineName.AUTO
    compression: Annotated[bool, typer.Option(help="Offer permessage-deflate.")] = False


class TlsOptions(OptionGroup, frozen=True, kw_only=True):
    """TLS without a proxy in front."""

    TITLE: ClassVar = "TLS"

    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate chain.")] = None
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM private key.")] = None


class AuthOptions(JwtOptions, frozen=True, kw_only=True):
    """Who may connect, and join what."""

    TITLE: ClassVar = "Who may connect"

    guests: Annotated[GuestMode | None, typer.Option(help="Guest tokens.", show_default=BY_PROFILE)] = None
    guest_ttl: Annotated[int, duration_option("How long a guest token is valid.", show_default="24h")] = GUEST_TTL_MS
    session_join: Annotated[
        SessionJoin | None, typer.Option(help="Who may join a session by its id.", show_default=BY_PROFILE)
    ] = None
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allowed web origin (repeatable, * for any).", show_default="same host"),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name to serve, besides localhost and addresses (repeatable).",
            show_default="any; on loopback none",
        ),
    ] = None


class ProxyOptions(OptionGroup, frozen=True, kw_only=True):
    """Whom to believe about the client behind a proxy."""

    TITLE: ClassVar = "Behind a proxy"

    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Address or network of a proxy; unix: of the Unix socket (repeatable)."),
    ] = None
    forwarded_header: Annotated[ForwardedHeader, typer.Option(help="Header in which they name the client.")] = (
        ForwardedHeader.X_FORWARDED_FOR
    )
    proxy_protocol: Annotated[
        bool, typer.Option(help="They begin each connection with a PROXY header; others are dropped.")
    ] = False
    forwarded_host: Annotated[bool, typer.Option(help="Take the Host from them too (X-Forwarded-Host).")] = False


class LimitOptions(OptionGroup, frozen=True, kw_only=True):
    """What a client, and all of them together, may cost."""

    TITLE: ClassVar = "Limits"

    max_message_size: Annotated[int | None, size_option("Largest message.", show_default=BY_PROFILE)] = None
    rate_limit: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="N", help="Messages a second per connection; 0: no limit.", show_default=BY_PROFILE
        ),
    ] = None
    byte_rate_limit: Annotated[
        int | None, size_option("Bytes a second per connection; 0B: no limit.", show_default=BY_PROFILE)
    ] = None
    max_inbound_memory: Annotated[
        int | None,
        size_option("Messages that wait for the app, in all.", show_default="64MiB, or four of the largest messages"),
    ] = None
    max_inbound_per_connection: Annotated[
        int | None,
        size_option("Messages of one connection that wait for the app.", show_default="4MiB, or a quarter of all"),
    ] = None
    max_connections: Annotated[int, typer.Option(min=0, metavar="N", help="Connections in all; 0: no limit.")] = (
        DEFAULT_MAX_CONNECTIONS
    )
    max_connections_per_ip: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Connections from one address; 0: no limit.", show_default=BY_PROFILE),
    ] = None
    max_connections_per_user: Annotated[
        int, typer.Option(min=0, metavar="N", help="Connections by one user; 0: no limit.")
    ] = 0
    max_pending: Annotated[
        int, typer.Option(min=0, metavar="N", help="Connections still in their handshake; 0: no limit.")
    ] = DEFAULT_MAX_PENDING
    max_pending_per_ip: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Of these, from one address; 0: no limit.", show_default=BY_PROFILE),
    ] = None
    connect_rate: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="N", help="New connections a second from one address; 0: no limit.", show_default=BY_PROFILE
        ),
    ] = None
    max_rooms: Annotated[int, typer.Option(min=0, metavar="N", help="Rooms that one connection may be in.")] = (
        DEFAULT_MAX_ROOMS
    )
    max_room_memory: Annotated[
        int, size_option("What memberships of rooms may take, in all.", show_default="256MiB")
    ] = DEFAULT_ROOM_MEMORY
    max_outbound_memory: Annotated[
        int, size_option("Messages that wait for clients to read, in all.", show_default="256MiB")
    ] = OUTBOUND_IN_ALL
    max_outbound_per_connection: Annotated[
        int | None,
        size_option("Messages that wait for one client to read.", show_default="1MiB, or a quarter of all"),
    ] = None
    recovery: RecoveryOptions = RecoveryOptions()

    def connections(self, defaults: ProfileDefaults) -> ConnectionLimits:
        """Return the limits on connections."""
        per_ip = self.max_connections_per_ip
        return ConnectionLimits(
            self.max_connections or None,
            defaults.max_connections_per_ip if per_ip is None else per_ip or None,
            self.max_connections_per_user or None,
        )

    def inbound(self, max_message_bytes: int) -> InboundLimits:
        """Return the limits on what waits for handlers."""
        return InboundLimits.chosen(
            max_message_bytes, per_connection=self.max_inbound_per_connection, in_all=self.max_inbound_memory
        )

    def pending(self, defaults: ProfileDefaults) -> PendingLimits:
        """Return the limits on connections that are still in their handshake."""
        per_ip = self.max_pending_per_ip
        return PendingLimits(
            self.max_pending or None,
            defaults.max_pending_per_ip if per_ip is None else per_ip or None,
            defaults.connects if self.connect_rate is None else _rate(self.connect_rate),
        )

    def rates(self, defaults: ProfileDefaults) -> RatePolicy:
        """Return the limits on what one connection sends."""
        return RatePolicy(
            defaults.messages if self.rate_limit is None else _rate(self.rate_limit),
            defaults.octets if self.byte_rate_limit is None else _rate(self.byte_rate_limit),
        )

    def outbound(self) -> OutboundLimits:
        """Return the limits on what waits for clients to read."""
        in_all = self.max_outbound_memory
        chosen = self.max_outbound_per_connection
        return OutboundLimits(outbound_per_connection(in_all) if chosen is None else chosen, in_all=in_all)


def _rate(per_second: float) -> Rate | None:
    return Rate(per_second, max(1, per_second * BURST_SECONDS)) if per_second else None


class TimeOptions(OptionGroup, frozen=True, kw_only=True):
    """How long what may take."""

    TITLE: ClassVar = "Heartbeat and time-outs"

    heartbeat_interval: Annotated[int, duration_option("Time between pings.", show_default="25s")] = 25_000
    heartbeat_timeout: Annotated[int, duration_option("Silence after which a client is gone.", show_default="60s")] = (
        60_000
    )
    handshake_timeout: Annotated[int, duration_option("Time a client has for its handshake.", show_default="10s")] = (
        10_000
    )
    drain_timeout: Annotated[int, duration_option("Time for a graceful shutdown, in all.", show_default="5s")] = 5_000


class DevelopmentOptions(OptionGroup, frozen=True, kw_only=True):
    """What helps those who write the app."""

    TITLE: ClassVar = "Development"

    reload: Annotated[bool, typer.Option(help="Start again when a file below this folder changes.")] = False


class LogOptions(OptionGroup, frozen=True, kw_only=True):
    """What the server says on standard error."""

    TITLE: ClassVar = "Log"

    log_format: Annotated[LogFormat, typer.Option(help="Format of the log on standard error.")] = LogFormat.TEXT
    log_level: Annotated[LogLevel, typer.Option(help="How much to log.")] = LogLevel.INFO


class ProcessOptions(OptionGroup, frozen=True, kw_only=True):
    """How it runs, whatever it serves."""

    scale: ScaleOptions = ScaleOptions()
    ops: OpsOptions = OpsOptions()
    webhooks: WebhookOptions = WebhookOptions()
    development: DevelopmentOptions = DevelopmentOptions()
    log: LogOptions = LogOptions()


def server_settings(
    listen: ListenOptions,
    tls: TlsOptions,
    auth: AuthOptions,
    proxies: ProxyOptions,
    limits: LimitOptions,
    times: TimeOptions,
    scale: ScaleOptions,
    webhooks: WebhookOptions,
) -> ServerSettings:
    """Return the settings that the options make, with the profile's choices where nobody chose; raises ConfigError."""
    if listen.uds is not None and scale.workers > 1:
        raise ConfigError("--uds", "several workers listen at a port, each at a socket of its own", "leave one out")
    for options in (auth, tls, scale, webhooks):
        refuse_empty(options, type(options))
    secret = auth.secret()
    profile = listen.profile or default_profile(listen.host, listen.uds)
    defaults = profile_defaults(profile, has_secret=secret is not None)
    chosen_size = limits.max_message_size
    outbound = limits.outbound()
    max_message_bytes = defaults.max_message_bytes if chosen_size is None else chosen_size
    return ServerSettings(
        host=listen.host,
        port=listen.port,
        path=listen.path,
        echo_path=listen.echo_path,
        uds=listen.uds,
        uds_mode=listen.uds_mode,
        profile=profile,
        engine=listen.engine,
        compression=listen.compression,
        tls_cert=tls.tls_cert,
        tls_key=tls.tls_key,
        jwt_key=auth.jwt_key(secret),
        jwks_file=auth.jwks_file,
        issuer=auth.issuer,
        audience=auth.audience,
        claim_names=auth.claim_names(),
        guests=auth.guests or defaults.guests,
        guest_secret=secret,
        guest_ttl_ms=auth.guest_ttl,
        session_join=auth.session_join or defaults.session_join,
        origins=tuple(auth.origin or ()),
        allowed_hosts=tuple(auth.allowed_host or ()),
        trusted_proxies=tuple(proxies.trusted_proxy or ()),
        proxy_protocol=proxies.proxy_protocol,
        forwarded_header=proxies.forwarded_header,
        forwarded_host=proxies.forwarded_host,
        heartbeat=HeartbeatPolicy(times.heartbeat_interval, times.heartbeat_timeout),
        connections=limits.connections(defaults),
        pending=limits.pending(defaults),
        rates=limits.rates(defaults),
        rooms=RoomLimits(limits.max_rooms, limits.max_room_memory),
        inbound=limits.inbound(max_message_bytes),
        outbound=outbound,
        recovery=limits.recovery.limits(outbound.per_connection),
        broker=scale.targets(),
        broker_before=scale.targets_before(),
        broker_prefix=scale.broker_prefix,
        webhooks=webhooks.settings(),
        connecting=webhooks.connecting(),
        max_message_bytes=max_message_bytes,
        handshake_timeout_ms=times.handshake_timeout,
        drain_timeout_ms=times.drain_timeout,
    )

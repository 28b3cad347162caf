"""A server's settings, and the two profiles that fill in what nobody chose (design section 10)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError
from wscore.guest import GUEST_TTL_MS, GuestMode
from wscore.heartbeat import HeartbeatPolicy
from wscore.ratelimit import Rate
from wscore.recovery import RecoveryLimits
from wscore.tokens import ClaimNames, JwtKey
from wsserver.brokers.redistarget import RedisTarget
from wsserver.connections.inbound import InboundLimits
from wsserver.connections.ratelimits import RatePolicy
from wsserver.connections.rooms import RoomLimits
from wsserver.connections.sessions import SessionJoin
from wsserver.engines.pending import PendingLimits
from wsserver.handshake.forwarded import ForwardedHeader
from wsserver.handshake.limits import ConnectionLimits
from wsserver.outbound.backlog import OutboundLimits
from wsserver.webhooks.settings import ConnectingSettings, WebhookSettings

DEFAULT_BROKER_PREFIX: Final = "wsctl:"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8765
DEFAULT_PATH: Final = "/socket.io/"
DEFAULT_UDS_MODE: Final = 0o666  # a proxy runs as another user, and tokens decide who gets in
DEFAULT_MAX_CONNECTIONS: Final = 10_000
DEFAULT_MAX_PENDING: Final = 1000


class Profile(StrEnum):
    """`dev` is open and for this machine, `prod` is strict and for the network."""

    DEV = "dev"
    PROD = "prod"


class EngineName(StrEnum):
    """Which WebSocket engine; `auto` takes picows unless compression or a Unix socket asks for websockets."""

    AUTO = "auto"
    PICOWS = "picows"
    WEBSOCKETS = "websockets"


@dataclass(frozen=True, slots=True)
class ProfileDefaults:
    """What a profile chooses; None means unlimited."""

    guests: GuestMode
    session_join: SessionJoin
    messages: Rate | None
    octets: Rate | None
    max_connections_per_ip: int | None
    max_pending_per_ip: int | None
    connects: Rate | None
    max_message_bytes: int


def default_profile(host: str, uds: str | None) -> Profile:
    """Return `dev` for a loopback bind, `prod` for any other, a Unix socket (behind a proxy) included."""
    return Profile.DEV if uds is None and is_loopback(host) else Profile.PROD


def is_loopback(host: str) -> bool:
    """Tell whether `host` is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def profile_defaults(profile: Profile, *, has_secret: bool) -> ProfileDefaults:
    """Return a profile's choices (design section 10)."""
    if profile is Profile.DEV:
        return ProfileDefaults(GuestMode.UNSIGNED, SessionJoin.OPEN, None, None, None, None, None, 1 << 20)
    return ProfileDefaults(
        GuestMode.SIGNED if has_secret else GuestMode.OFF,
        SessionJoin.TOKEN,
        Rate(100, 200),
        Rate(1 << 20, 2 << 20),
        200,
        100,
        Rate(100, 200),
        64 << 10,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything a server needs to know, resolved and checked; the defaults are those of the dev profile.

    Raises ConfigError for values that contradict each other. Times in ms, sizes in bytes.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    path: str = DEFAULT_PATH
    echo_path: str | None = None
    uds: str | None = None
    uds_mode: int = DEFAULT_UDS_MODE
    profile: Profile = Profile.DEV
    engine: EngineName = EngineName.AUTO
    compression: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    jwt_key: JwtKey | None = None
    jwks_file: Path | None = None  # where the keys of jwt_key come from, to be read again when it changes
    issuer: str | None = None
    audience: str | None = None
    claim_names: ClaimNames = ClaimNames()
    guests: GuestMode = GuestMode.UNSIGNED
    guest_secret: bytes | None = field(default=None, repr=False)
    guest_ttl_ms: int = GUEST_TTL_MS
    session_join: SessionJoin = SessionJoin.OPEN
    origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    forwarded_header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR
    forwarded_host: bool = False
    heartbeat: HeartbeatPolicy = HeartbeatPolicy()
    connections: ConnectionLimits = ConnectionLimits(total=DEFAULT_MAX_CONNECTIONS)
    pending: PendingLimits = PendingLimits(total=DEFAULT_MAX_PENDING)
    rates: RatePolicy = RatePolicy()
    rooms: RoomLimits = RoomLimits()
    inbound: InboundLimits | None = None
    outbound: OutboundLimits = OutboundLimits()
    recovery: RecoveryLimits | None = None
    broker: RedisTarget | tuple[RedisTarget, ...] | None = None  # several: each group lives in one of them
    broker_before: tuple[RedisTarget, ...] = ()  # those of processes that are being exchanged
    broker_prefix: str = DEFAULT_BROKER_PREFIX
    webhooks: WebhookSettings | None = None
    connecting: ConnectingSettings | None = None
    max_message_bytes: int = 1 << 20
    handshake_timeout_ms: int = 10_000
    close_timeout_ms: int = 5_000
    drain_timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        for option, path in (("--path", self.path), ("--echo-path", self.echo_path)):
            if path is not None and (not path.startswith("/") or "?" in path):
                raise ConfigError(option, f"{path!r} is not a path", "start it with / and leave out the query")
        if self.echo_path is not None and self.echo_path.rstrip("/") == self.path.rstrip("/"):
            raise ConfigError("--echo-path", "is the path of the server itself", "choose another, such as /echo")
        if not 0 <= self.port <= 65535:
            raise ConfigError("--port", f"{self.port} is not a port", "use 0 to 65535, 0 for a free one")
        if self.uds is not None and self.engine is EngineName.PICOWS:
            raise ConfigError("--uds", "the picows engine speaks TCP only", "use --engine websockets or auto")
        for option, time_ms in (("--handshake-timeout", self.handshake_timeout_ms), ("--guest-ttl", self.guest_ttl_ms)):
            if time_ms <= 0:
                raise ConfigError(option, "must be more than 0", "nobody could connect")
        if self.max_message_bytes < 1024:
            raise ConfigError("--max-message-size", "less than 1KiB leaves no room for envelopes")
        self.inbound_limits.check(self.max_message_bytes)
        self.outbound.check(self.max_message_bytes)
        self.recovery_limits.check(self.outbound.per_connection)
        self.recovery_limits.shared_by(len(self.brokers))
        places = [str(target) for target in self.brokers]
        for place in places:
            if places.count(place) > 1:
                raise ConfigError("--broker", f"{place} is given twice", "give each Redis once")
        if self.broker_before and not self.brokers:
            raise ConfigError("--broker-before", "there is no broker", "give --broker too")
        if self.guests is GuestMode.OFF and self.jwt_key is None and self.connecting is None:
            raise ConfigError(
                "JWT secret",
                "none is set and guests are off, so nobody could connect",
                "set WSCTL_JWT_SECRET or --jwt-secret-file, allow --guests unsigned, or let --connecting-url decide",
            )
        if self.guests is GuestMode.SIGNED and self.guest_secret is None:
            raise ConfigError("--guests signed", "needs a secret", "set WSCTL_JWT_SECRET or --jwt-secret-file")
        for option, is_given in (
            ("--proxy-protocol", self.proxy_protocol),
            ("--forwarded-header", self.forwarded_header is not ForwardedHeader.X_FORWARDED_FOR),
            ("--forwarded-host", self.forwarded_host),
        ):
            if is_given and not self.trusted_proxies:
                raise ConfigError(option, "nobody is trusted to write it", "add --trusted-proxy")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert", "a certificate needs its key", "give both --tls-cert and --tls-key")

    @property
    def brokers(self) -> tuple[RedisTarget, ...]:
        """Every Redis that the processes share, none for a process of its own."""
        if self.broker is None:
            return ()
        return self.broker if isinstance(self.broker, tuple) else (self.broker,)

    @property
    def is_local(self) -> bool:
        """Whether it listens for this machine alone, where a Host header of another name means DNS rebinding."""
        return self.uds is None and is_loopback(self.host)

    @property
    def inbound_limits(self) -> InboundLimits:
        """The limits on what waits for handlers, those that follow from the largest message unless chosen."""
        return self.inbound or InboundLimits.chosen(self.max_message_bytes)

    @property
    def recovery_limits(self) -> RecoveryLimits:
        """What is kept for clients that come back, within the limit on what may wait for one unless chosen."""
        return self.recovery or RecoveryLimits.chosen(self.outbound.per_connection)

    @property
    def resolved_engine(self) -> EngineName:
        """The engine that `auto` stands for."""
        if self.engine is not EngineName.AUTO:
            return self.engine
        return EngineName.WEBSOCKETS if self.compression or self.uds else EngineName.PICOWS

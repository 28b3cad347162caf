"""Parts of a server that take more than a line to be made from its settings."""

from __future__ import annotations

from collections.abc import Sequence

from wscore.guest import GuestVerifier
from wscore.payloads import Limits, RateLimit
from wscore.tokens import JwtVerifier
from wsserver.engines.base import Engine, EngineSettings
from wsserver.engines.unfinished import Unfinished
from wsserver.handshake.authentication import AuthenticationHandler
from wsserver.handshake.hosts import HostPolicy
from wsserver.handshake.jwksfile import JwksFile
from wsserver.handshake.origins import OriginPolicy
from wsserver.outbound.backlog import Backlog
from wsserver.sdk.app import App
from wsserver.sdk.appsettings import settings_of
from wsserver.sdk.declared import DeclaredTypes
from wsserver.sdk.resources import Resources
from wsserver.settings import EngineName, Profile, ServerSettings
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog


def announced_limits(settings: ServerSettings) -> Limits:
    """Return the limits that every client is told of in its greeting."""
    messages, octets = (
        None if rate is None else RateLimit(rate.per_second, rate.burst)
        for rate in (settings.rates.messages, settings.rates.octets)
    )
    return Limits(settings.max_message_bytes, messages, octets)


def authentication_of(settings: ServerSettings, clock: Clock, log: EventLog) -> AuthenticationHandler:
    """Return what decides about tokens."""
    guests = GuestVerifier(settings.guests, secret=settings.guest_secret, ttl_ms=settings.guest_ttl_ms)
    key, file = settings.jwt_key, settings.jwks_file
    if key is None:
        return AuthenticationHandler(None, guests, clock.now_ms)
    jwt = JwtVerifier(key, issuer=settings.issuer, audience=settings.audience, names=settings.claim_names)
    jwks = None if file is None else JwksFile(file, key, clock.now_s, log)
    return AuthenticationHandler(jwt, guests, clock.now_ms, jwks)


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

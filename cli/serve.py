"""`wsctl serve`: the composition root of a server process."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import collector
from cli.banner import banner
from cli.exits import ExitCode
from cli.loading import load_app
from cli.output import note
from cli.secrets import read_file, read_jwt_secret
from cli.servevoice import VoiceOptions, voice_app_of, voice_settings
from cli.settings import ConfigFile, duration_option, size_option
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.guest import GUEST_TTL_MS, GuestMode
from wscore.heartbeat import HeartbeatPolicy
from wscore.ratelimit import Rate
from wsserver.admission import ConnectionLimits
from wsserver.logs import LogFormat, configure_logging
from wsserver.ratelimits import RatePolicy
from wsserver.sessions import SessionJoin
from wsserver.settings import (
    DEFAULT_HOST,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_PATH,
    DEFAULT_PORT,
    EngineName,
    Profile,
    ProfileDefaults,
    ServerSettings,
    default_profile,
    profile_defaults,
)

if TYPE_CHECKING:
    from wscore.tokens import JwtKey
    from wsserver import App

BY_PROFILE = "by profile"
BURST_SECONDS = 2  # a burst is what two seconds allow


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@spread
def serve(
    app: Annotated[
        str | None, typer.Argument(metavar="APP", help="App to run, as MODULE:NAME; without it messages fan out.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    path: Annotated[str, typer.Option(help="Path of the WebSocket endpoint.")] = DEFAULT_PATH,
    echo_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Echo raw messages here, without auth: for conformance suites.")
    ] = None,
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Listen on this Unix socket instead.")] = None,
    profile: Annotated[
        Profile | None, typer.Option(help="Defaults for this machine or the network.", show_default="dev on loopback")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="WebSocket engine.")] = EngineName.AUTO,
    compression: Annotated[bool, typer.Option(help="Offer permessage-deflate.")] = False,
    jwt_secret_file: Annotated[
        Path | None, typer.Option(help="File with the HS256 secret (or WSCTL_JWT_SECRET); also signs guest tokens.")
    ] = None,
    jwt_algorithm: Annotated[str, typer.Option(help="HS256, RS256, ES256 or EdDSA.")] = "HS256",
    jwt_public_key: Annotated[Path | None, typer.Option(help="PEM file with the public key.")] = None,
    jwks_file: Annotated[Path | None, typer.Option(help="JWKS file with the public keys.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Required iss claim.")] = None,
    audience: Annotated[str | None, typer.Option(help="Required aud claim.")] = None,
    guests: Annotated[GuestMode | None, typer.Option(help="Guest tokens.", show_default=BY_PROFILE)] = None,
    guest_ttl: Annotated[int, duration_option("How long a guest token is valid.", show_default="24h")] = GUEST_TTL_MS,
    session_join: Annotated[
        SessionJoin | None, typer.Option(help="Who may join a session by its id.", show_default=BY_PROFILE)
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allowed web origin (repeatable, * for any).", show_default="same host"),
    ] = None,
    heartbeat_interval: Annotated[int, duration_option("Time between pings.", show_default="25s")] = 25_000,
    heartbeat_timeout: Annotated[
        int, duration_option("Silence after which a client is gone.", show_default="60s")
    ] = 60_000,
    max_message_size: Annotated[int | None, size_option("Largest message.", show_default=BY_PROFILE)] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="N", help="Messages a second per connection; 0: no limit.", show_default=BY_PROFILE
        ),
    ] = None,
    byte_rate_limit: Annotated[
        int | None, size_option("Bytes a second per connection; 0B: no limit.", show_default=BY_PROFILE)
    ] = None,
    max_connections: Annotated[
        int, typer.Option(min=0, metavar="N", help="Connections in all; 0: no limit.")
    ] = DEFAULT_MAX_CONNECTIONS,
    max_connections_per_ip: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Connections from one address; 0: no limit.", show_default=BY_PROFILE),
    ] = None,
    max_connections_per_user: Annotated[
        int, typer.Option(min=0, metavar="N", help="Connections by one user; 0: no limit.")
    ] = 0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key.")] = None,
    handshake_timeout: Annotated[
        int, duration_option("Time a client has for its handshake.", show_default="10s")
    ] = 10_000,
    drain_timeout: Annotated[int, duration_option("Time for a graceful shutdown.", show_default="10s")] = 10_000,
    log_format: Annotated[LogFormat, typer.Option(help="Format of the log on standard error.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="How much to log.")] = LogLevel.INFO,
    config: ConfigFile = None,
    *,
    voice: VoiceOptions,
) -> None:
    """Run the server until it is interrupted.

    A loopback address gets the dev profile: unsigned guests, open session join, no rate or per-address limits.
    Any other gets prod: signed guests when a secret is set, else none; joining by token only; limits on.
    """
    secret = read_jwt_secret(jwt_secret_file)
    chosen = profile or default_profile(host, uds)
    defaults = profile_defaults(chosen, has_secret=secret is not None)
    settings = ServerSettings(
        host=host,
        port=port,
        path=path,
        echo_path=echo_path,
        uds=uds,
        profile=chosen,
        engine=engine,
        compression=compression,
        tls_cert=tls_cert,
        tls_key=tls_key,
        jwt_key=_jwt_key(jwt_algorithm, secret, jwt_public_key, jwks_file),
        issuer=issuer,
        audience=audience,
        guests=guests or defaults.guests,
        guest_secret=secret,
        guest_ttl_ms=guest_ttl,
        session_join=session_join or defaults.session_join,
        origins=tuple(origin or ()),
        heartbeat=HeartbeatPolicy(heartbeat_interval, heartbeat_timeout),
        connections=ConnectionLimits(
            max_connections or None,
            defaults.max_connections_per_ip if max_connections_per_ip is None else max_connections_per_ip or None,
            max_connections_per_user or None,
        ),
        rates=_rates(defaults, rate_limit, byte_rate_limit),
        max_message_bytes=defaults.max_message_bytes if max_message_size is None else max_message_size,
        handshake_timeout_ms=handshake_timeout,
        drain_timeout_ms=drain_timeout,
    )
    configure_logging(log_format, log_level)
    loaded, choices = _load(app, voice)
    raise typer.Exit(_run(settings, loaded, choices, narrate=log_format is LogFormat.TEXT))


def _load(path: str | None, voice: VoiceOptions) -> tuple[App | None, list[str]]:
    """Return the app to run, None for the default one, and what there is to say of it."""
    wanted = voice_settings(voice)
    if wanted is None:
        return None if path is None else load_app(path), []
    if path is not None:
        raise ConfigError("--voice", f"is an app itself, so {path} cannot run too", "leave one of the two out")
    return voice_app_of(wanted)


def _jwt_key(algorithm: str, secret: bytes | None, public_key: Path | None, jwks: Path | None) -> JwtKey | None:
    if secret is None and public_key is None and jwks is None:
        return None
    from wscore.tokens import JwtKey

    return JwtKey(
        algorithm,
        secret=secret,
        public_key_pem=None if public_key is None else read_file(public_key, "--jwt-public-key"),
        jwks_json=None if jwks is None else read_file(jwks, "--jwks-file"),
    )


def _rates(defaults: ProfileDefaults, messages: float | None, octets: int | None) -> RatePolicy:
    return RatePolicy(
        defaults.messages if messages is None else _rate(messages),
        defaults.octets if octets is None else _rate(octets),
    )


def _rate(per_second: float) -> Rate | None:
    return Rate(per_second, max(1, per_second * BURST_SECONDS)) if per_second else None


def _run(settings: ServerSettings, app: App | None, choices: list[str], *, narrate: bool) -> ExitCode:
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, app, choices, narrate=narrate))


async def _serve(settings: ServerSettings, app: App | None, choices: list[str], *, narrate: bool) -> ExitCode:
    from wsserver import WebSocketServer

    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, on_signal)
    server = WebSocketServer(settings, app)
    await server.start()
    collector.work()  # again: the server was loaded since the command was
    if narrate:
        for line in banner(settings, server.url, choices, loop=type(loop).__module__):
            note(line)
    await first.wait()
    stopping = loop.create_task(server.stop())
    at_once = loop.create_task(second.wait())
    await asyncio.wait((stopping, at_once), return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        at_once.cancel()
        stopping.result()
        return ExitCode.DONE
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping
    return ExitCode.INTERRUPTED


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.Loop


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


command = serve

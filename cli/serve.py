"""`wsctl serve`: the composition root of a server process."""

from __future__ import annotations

import asyncio
import atexit
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cli import collector
from cli.banner import banner
from cli.exits import ExitCode
from cli.loading import load_app
from cli.output import fail, note
from cli.serveoptions import (
    AuthOptions,
    LimitOptions,
    ListenOptions,
    LogOptions,
    ProxyOptions,
    TimeOptions,
    TlsOptions,
    server_settings,
)
from cli.servevoice import VoiceOptions, voice_app_of, voice_settings
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wsserver.logs import LogFormat, configure_logging
from wsserver.logwriter import LogWriter

# Gives the lines to say once it listens at a URL, on an event loop of a module.
Saying = Callable[[str, str], Iterable[str]]
FLUSH_S = 0.5  # what is still to be written at the end gets this long

if TYPE_CHECKING:
    from wsserver import App
    from wsserver.failures import ExitRequest
    from wsserver.settings import ServerSettings


@spread
def serve(
    app: Annotated[
        str | None, typer.Argument(metavar="APP", help="App to run, as MODULE:NAME; without it messages fan out.")
    ] = None,
    *,
    listen: ListenOptions,
    auth: AuthOptions,
    limits: LimitOptions,
    times: TimeOptions,
    tls: TlsOptions,
    proxies: ProxyOptions,
    log: LogOptions,
    voice: VoiceOptions,
    config: ConfigFile = None,
) -> None:
    """Run the server until it is interrupted.

    A loopback address gets the dev profile: unsigned guests, open session join, no rate or per-address limits.
    Any other gets prod: signed guests when a secret is set, else none; joining by token only; limits on.
    """
    settings = server_settings(listen, tls, auth, proxies, limits, times)
    _log_without_waiting(log)
    loaded, choices = _load(app, voice)
    say = None
    if log.log_format is LogFormat.TEXT:
        say = partial(banner, settings, voice=choices, secret_file=auth.jwt_secret_file)
    raise typer.Exit(_run(settings, loaded, say))


def _log_without_waiting(log: LogOptions) -> None:
    """Let nothing that goes to standard error hold the server up: its log, narration, warnings, an app's own words."""
    sys.stderr = writer = LogWriter(2, encoding=sys.stderr.encoding)
    atexit.register(writer.settle, FLUSH_S)
    configure_logging(log.log_format, log.log_level, writer)


def _load(path: str | None, voice: VoiceOptions) -> tuple[App | None, list[str]]:
    """Return the app to run, None for the default one, and what there is to say of it."""
    wanted = voice_settings(voice)
    if wanted is None:
        return None if path is None else load_app(path), []
    if path is not None:
        raise ConfigError("--voice", f"is an app itself, so {path} cannot run too", "leave one of the two out")
    return voice_app_of(wanted)


def _run(settings: ServerSettings, app: App | None, say: Saying | None) -> int:
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, app, say))


async def _serve(settings: ServerSettings, app: App | None, say: Saying | None) -> int:
    from wsserver import WebSocketServer

    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()
    exits: list[ExitRequest] = []

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    def on_exit(error: ExitRequest) -> None:
        exits.append(error)
        first.set()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, on_signal)
    server = WebSocketServer(settings, app, on_exit=on_exit)
    await server.start()
    collector.work()  # again: the server was loaded since the command was
    if say is not None:
        for line in say(server.url, type(loop).__module__):
            note(line)
    await first.wait()
    stopping = loop.create_task(server.stop())
    at_once = loop.create_task(second.wait())
    await asyncio.wait((stopping, at_once), return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        at_once.cancel()
        stopping.result()
        return _code_of(exits[0]) if exits else ExitCode.DONE
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping
    return ExitCode.INTERRUPTED


def _code_of(error: ExitRequest) -> int:
    """Return what a program ends with after this exception, which an app's code raised, and say what it says."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if error.code is None or isinstance(error.code, int):
        return error.code or ExitCode.DONE
    fail(str(error.code))
    return ExitCode.FAILED


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

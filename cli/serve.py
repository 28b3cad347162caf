"""`wsctl serve`: the composition root of a server process."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import collector
from cli.appsettings import read_app_settings, shown_settings
from cli.banner import banner
from cli.exits import ExitCode
from cli.loading import load_app
from cli.operations import operations_port
from cli.options.serve import (
    AuthOptions,
    LimitOptions,
    ListenOptions,
    LogOptions,
    ProcessOptions,
    ProxyOptions,
    TimeOptions,
    TlsOptions,
    server_settings,
)
from cli.options.voice import VoiceAppOptions, voice_app_of, voice_settings
from cli.output import fail, note
from cli.reloading import serve_on_change
from cli.secretfiles import warn_of_readable
from cli.settings import ConfigFile
from cli.signals import StopSignals
from cli.spreading import spread
from cli.systemd import ServiceManager
from wscore.errors import ConfigError
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.budget import AbandonedError
from wsserver.telemetry.logs import EventLog, LogFormat, configure_logging
from wsserver.telemetry.logwriter import LogWriter
from wsserver.workers.control import Assignment, take_assignment
from wsserver.workers.worker import WorkerSide

Saying = Callable[..., Iterable[str]]  # gives the lines to say once it listens at a URL
FLUSH_S = 0.5  # what is still to be written at the end gets this long

if TYPE_CHECKING:
    from wsserver import App, WebSocketServer
    from wsserver.sdk.failures import ExitRequest
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
    process: ProcessOptions,
    voice: VoiceAppOptions,
    config: ConfigFile = None,
) -> None:
    """Run the server until it is interrupted.

    A loopback address gets the dev profile: unsigned guests, open session join, no rate or per-address limits.
    Any other gets prod: signed guests when a secret is set, else none; joining by token only; limits on.
    """
    if process.development.reload:
        raise typer.Exit(serve_on_change(listen.host, listen.port, times.drain_timeout))
    assignment = take_assignment()
    settings = server_settings(listen, tls, auth, proxies, limits, times, process.scale, process.webhooks)
    ops = process.ops.settings() if assignment is None else None  # the supervisor's, where there is one
    log, workers = process.log, process.scale.workers
    writer = _log_without_waiting(log, None if assignment is None else assignment.slot)
    event_log = EventLog(dropped_lines=lambda: writer.dropped)
    if assignment is None:
        warn_of_readable((listen, auth, tls, process, voice), event_log)
    say: Saying | None = None
    if log.log_format is LogFormat.TEXT and assignment is None:
        say = partial(banner, settings, key=auth)
    if workers > 1 and assignment is None:
        raise typer.Exit(_supervise(settings, workers, ops, event_log, writer, say))
    signals = StopSignals(settings.drain_timeout_ms / 1000, writer)
    signals.install()
    loaded, choices = _load(app, voice)
    own = read_app_settings([] if loaded is None else loaded.settings, config, os.environ)
    if say is not None:
        say = partial(say, voice=choices, app=shown_settings(own))
    raise typer.Exit(_run(settings, loaded, own, ops, event_log, signals, say, assignment))


def _supervise(
    settings: ServerSettings, count: int, ops: PortSettings | None, log: EventLog, writer: LogWriter, say: Saying | None
) -> int:
    from cli.supervising import MARGIN_S, supervise

    signals = StopSignals(settings.drain_timeout_ms / 1000 + MARGIN_S, writer)
    signals.install()
    by_workers = say and partial(say, loop=f"{count} workers", voice=(), app=())
    return supervise(settings, count, ops, log, signals, by_workers)


def _log_without_waiting(log: LogOptions, worker: int | None) -> LogWriter:
    """Let nothing that goes to standard error hold the server up: its log, narration, warnings, an app's own words."""
    sys.stderr = writer = LogWriter(2, encoding=sys.stderr.encoding)
    atexit.register(writer.settle, FLUSH_S)
    configure_logging(log.log_format, log.log_level, writer, worker)
    return writer


def _load(path: str | None, voice: VoiceAppOptions) -> tuple[App | None, list[str]]:
    """Return the app to run, None for the default one, and what there is to say of it."""
    wanted = voice_settings(voice)
    if wanted is None:
        return None if path is None else load_app(path), []
    if path is not None:
        raise ConfigError("--voice", f"is an app itself, so {path} cannot run too", "leave one of the two out")
    return voice_app_of(wanted)


def _run(
    settings: ServerSettings,
    app: App | None,
    own: Sequence[object],
    ops: PortSettings | None,
    log: EventLog,
    signals: StopSignals,
    say: Saying | None,
    assignment: Assignment | None,
) -> int:
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, app, own, ops, log, signals, say, assignment))


async def _serve(
    settings: ServerSettings,
    app: App | None,
    own: Sequence[object],
    ops: PortSettings | None,
    log: EventLog,
    signals: StopSignals,
    say: Saying | None,
    assignment: Assignment | None,
) -> int:
    from wsserver import WebSocketServer

    loop = asyncio.get_running_loop()
    exits: list[ExitRequest] = []

    def on_exit(error: ExitRequest) -> None:
        exits.append(error)
        signals.stop()

    signals.attach(loop)
    worker = None if assignment is None else WorkerSide(assignment, signals.stop)
    sockets, number = ((), None) if worker is None else (worker.sockets, worker.slot)
    server = WebSocketServer(settings, app, app_settings=own, log=log, on_exit=on_exit, sockets=sockets, worker=number)
    if worker is not None:
        worker.answer(server.operations.respond)
    async with operations_port(ops, server.operations, log) as port:
        code = await _serve_until_signal(server, signals, worker, say and partial(say, ops=port))
    return _code_of(exits[0]) if exits and code == ExitCode.DONE else code


async def _serve_until_signal(
    server: WebSocketServer, signals: StopSignals, worker: WorkerSide | None, say: Saying | None
) -> int:
    loop = asyncio.get_running_loop()
    if not await _unless(signals.first, server.start()):
        return ExitCode.INTERRUPTED
    signals.has_served = True
    collector.work()  # again: the server was loaded since the command was
    if say is not None:
        for line in say(server.url, loop=type(loop).__module__):
            note(line)
    manager = ServiceManager()
    manager.ready()
    watching = loop.create_task(manager.keep_alive())
    if worker is not None:
        worker.ready(server, server.url, server.operations.process)
    await signals.first.wait()
    watching.cancel()
    manager.stopping()
    try:
        if not await _unless(signals.second, server.stop()):
            return ExitCode.INTERRUPTED
    except AbandonedError as error:
        fail(str(error))
        signals.exit_now(ExitCode.FAILED)  # the loop would wait for what does not end
    return ExitCode.DONE


async def _unless(event: asyncio.Event, run: Coroutine[Any, Any, None]) -> bool:
    """Run to the end, or cancel it once the event comes; returns whether it was the end."""
    running = asyncio.get_running_loop().create_task(run)
    waiting = asyncio.get_running_loop().create_task(event.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not running.done():
        running.cancel()
        await asyncio.wait((running,))  # it cleans up; the signals' thread sees to it that it does not take for ever
        if not running.cancelled():
            running.exception()
        return False
    running.result()
    return True


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

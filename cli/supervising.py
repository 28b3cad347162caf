"""`wsctl serve --workers N`: this process supervises, the workers run the same command line again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from cli.exits import ExitCode
from cli.operations import operations_port
from cli.output import note
from cli.signals import StopSignals
from cli.systemd import ServiceManager
from wscore.text import system_words
from wsserver import ListenError
from wsserver.operations.settings import PortSettings
from wsserver.settings import ServerSettings
from wsserver.telemetry.logs import EventLog
from wsserver.workers.operations import OwnWorkers
from wsserver.workers.process import start_worker
from wsserver.workers.sockets import open_slots
from wsserver.workers.supervisor import KILL_S, Supervisor

Say = Callable[..., Iterable[str]]  # the lines to say once it listens at a URL
# -P: no package of the directory that it is started in takes the place of ours.
COMMAND: Final = (sys.executable, "-P", "-m", "cli.main")
# Beyond what each worker takes: they end side by side.
MARGIN_S: Final = KILL_S + 1.0


def supervise(
    settings: ServerSettings,
    count: int,
    ops: PortSettings | None,
    log: EventLog,
    signals: StopSignals,
    say: Say | None,
) -> int:
    """Run `count` workers until a signal; returns what to exit with. Raises ListenError and ConfigError."""
    return asyncio.run(_supervise(settings, count, ops, log, signals, say))


async def _supervise(
    settings: ServerSettings,
    count: int,
    ops: PortSettings | None,
    log: EventLog,
    signals: StopSignals,
    say: Say | None,
) -> int:
    try:
        slots = open_slots(settings.host, settings.port, count)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise ListenError(where, system_words(error)) from None
    supervisor = Supervisor(
        count,
        lambda slot: start_worker((*COMMAND, *sys.argv[1:]), slot, slots),
        drain_s=settings.drain_timeout_ms / 1000,
        log=log,
    )

    def read_again() -> None:
        if ops is not None and ops.keys is not None:
            ops.keys.look(log, at_once=True)

    async with operations_port(ops, OwnWorkers(supervisor), log) as port:
        return await _run(supervisor, signals, read_again, say and partial(say, ops=port))


async def _run(supervisor: Supervisor, signals: StopSignals, read_again: Callable[[], None], say: Say | None) -> int:
    loop = asyncio.get_running_loop()
    manager = ServiceManager()
    signals.attach(loop, on_hangup=partial(_roll, supervisor, manager, read_again))
    beginning = loop.create_task(supervisor.begin())
    stopping = loop.create_task(signals.first.wait())
    await asyncio.wait((beginning, stopping), return_when=asyncio.FIRST_COMPLETED)
    code: int | None = ExitCode.INTERRUPTED
    if beginning.done():
        code = beginning.result()
    beginning.cancel()
    if code is None:
        signals.has_served = True
        for line in () if say is None else say(supervisor.url):
            note(line)
        manager.ready()
        watching = loop.create_task(manager.keep_alive())
        await stopping
        watching.cancel()
        code = ExitCode.DONE
    stopping.cancel()
    manager.stopping()
    hurrying = loop.create_task(_hurry(supervisor, signals))
    in_order = await supervisor.stop()
    hurrying.cancel()
    if signals.second.is_set():
        return ExitCode.INTERRUPTED
    return code if in_order or code else ExitCode.FAILED


def _roll(supervisor: Supervisor, manager: ServiceManager, read_again: Callable[[], None]) -> None:
    manager.reloading()
    read_again()
    rolling = supervisor.roll()
    rolling.add_done_callback(lambda _: manager.ready())


async def _hurry(supervisor: Supervisor, signals: StopSignals) -> None:
    await signals.second.wait()
    supervisor.hurry()

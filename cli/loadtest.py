"""`wsctl loadtest`: tests of the load that a server holds, each with a verdict."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.loadoptions import (
    DEFAULT_GRACE_MS,
    BroadcastOptions,
    GateOptions,
    LoadOptions,
    MachineOptions,
    ReplayOptions,
    ReportOptions,
    SearchOptions,
    SoakOptions,
    TargetOptions,
    Url,
    VoiceLoadOptions,
)
from cli.settings import ConfigFile
from cli.spreading import GroupedCommand, spread
from loadtest.wire import Kind
from wscore.units import format_duration

DEFAULT_COMMAND = "quick"


class _Group(TyperGroup):
    """A group whose bare name, or its name with a URL or options, is the quick test."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in ctx.help_option_names and (args[0].startswith("-") or "://" in args[0])):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


class _Command(GroupedCommand):
    """A command whose `--abort-on-fail` may do without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        default = f"--abort-on-fail={format_duration(DEFAULT_GRACE_MS)}"
        end = args.index("--") if "--" in args else len(args)
        args = [default if arg == "--abort-on-fail" else arg for arg in args[:end]] + args[end:]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    help="Test what load a server holds, with a verdict.",
    epilog="Without a command it runs the quick test.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=_Command)
@spread
def quick(
    *,
    url: Url = None,
    target: TargetOptions,
    report: ReportOptions,
    config: ConfigFile = None,
) -> None:
    """Run a short heartbeat and a short broadcast test."""
    from cli.loadcommands import run_quick

    raise typer.Exit(asyncio.run(run_quick(url, target, report)))


@app.command(cls=_Command)
@spread
def heartbeat(
    *,
    url: Url = None,
    load: LoadOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Ping at a rate over many connections; measure the round trips."""
    _run(Kind.HEARTBEAT, url, load, target, gate, machine)


@app.command(cls=_Command)
@spread
def broadcast(
    *,
    url: Url = None,
    load: BroadcastOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Publish in sessions; measure and account for every delivery."""
    _run(Kind.BROADCAST, url, load, target, gate, machine)


@app.command(cls=_Command)
@spread
def reconnect(
    *,
    url: Url = None,
    load: LoadOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Drop all connections at once; measure until all are back."""
    _run(Kind.RECONNECT, url, load, target, gate, machine)


@app.command(cls=_Command)
@spread
def soak(
    *,
    url: Url = None,
    load: SoakOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Hold connections for long; watch heartbeats and memory."""
    _run(Kind.SOAK, url, load, target, gate, machine)


def _run(kind: Kind, url: str | None, load: LoadOptions, *rest: Any) -> None:
    from cli.loadcommands import run_load

    raise typer.Exit(asyncio.run(run_load(kind, url, load, *rest)))


@app.command(cls=_Command)
@spread
def replay(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of a client.")],
    url: Url = None,
    load: ReplayOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Play what a client sent, over many connections."""
    from cli.loadcommands import run_replay

    raise typer.Exit(asyncio.run(run_replay(file, url, load, target, gate, machine)))


@app.command(cls=_Command)
@spread
def voice(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE.wav", help="What the callers say: one sentence.")],
    url: Url = None,
    load: VoiceLoadOptions,
    target: TargetOptions,
    gate: GateOptions,
    machine: MachineOptions,
    config: ConfigFile = None,
) -> None:
    """Have callers speak in real time; measure the answers."""
    from cli.loadcommands import run_voice

    raise typer.Exit(asyncio.run(run_voice(file, url, load, target, gate, machine)))


@app.command("find-max", cls=_Command)
@spread
def find_max(
    *,
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="heartbeat, broadcast or voice.", show_default="heartbeat")
    ] = None,
    url: Url = None,
    search: SearchOptions,
    target: TargetOptions,
    report: ReportOptions,
    config: ConfigFile = None,
) -> None:
    """Find the most that holds, and which threshold limits it."""
    from cli.loadsearch import run_find_max

    if kind is not None and url is None and "://" in kind:
        kind, url = None, kind
    raise typer.Exit(asyncio.run(run_find_max(kind or Kind.HEARTBEAT, url, search, target, report)))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A summary.json, or a directory with one.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later one.")],
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Compare two runs; fail if the later one is worse."""
    from cli.loadreport import run_compare

    raise typer.Exit(run_compare(before, after, json=json))

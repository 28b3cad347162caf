"""`wsctl loadtest`: tests of the load that a server holds, each with a verdict."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.completion import choose_from
from cli.grouped import GroupedCommand
from cli.options.connection import Url
from cli.options.load import (
    DEFAULT_GRACE_MS,
    GateOptions,
    LoadTargetOptions,
    MachineOptions,
    ReportOptions,
    SearchOptions,
    option_of,
)
from cli.options.output import Json
from cli.settings import ConfigFile
from cli.spreading import spread
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.base import FileArgument, Scenario
from wscore.units import format_duration, join_words

DEFAULT_COMMAND = "quick"
SEARCHABLE = [scenario.name for scenario in SCENARIOS.values() if scenario.search is not None]


# \b keeps the lines as they are.
_EPILOG = """Without a command it runs the quick test.

\b
Examples:
  wsctl loadtest --serve
  wsctl loadtest heartbeat localhost:3000 --protocol raw
  wsctl loadtest heartbeat localhost:3000 --message '{"op":"say","id":{{id}}}'
  wsctl loadtest broadcast localhost:3000 --message '{"say":"{{stamp}}"}'
  wsctl loadtest heartbeat localhost:4000/graphql --protocol graphql-ws
  wsctl loadtest heartbeat localhost:3000 --protocol socketio \\
    --message '{"type":"echo","data":"hi","id":{{id}}}'
  wsctl loadtest broadcast localhost:4000 --protocol phoenix \\
    --channel room:1 --message '{"type":"new_msg","data":{"b":"{{stamp}}"}}'
  wsctl loadtest run scenario.py localhost:3000
"""


def is_place(word: str) -> bool:
    """Tell whether a word is a URL, with its scheme or without, and no name of a test."""
    return any(mark in word for mark in ":./")


class _LoadGroup(TyperGroup):
    """A group whose bare name, or its name with a URL or options, is the quick test."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        bare = not args and not ctx.resilient_parsing  # a shell completes the name that is still to come
        if bare or (args and args[0] not in ctx.help_option_names and (args[0].startswith("-") or is_place(args[0]))):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Offer the commands, and the options of the one that needs no name."""
        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            return found
        quick = self.get_command(ctx, DEFAULT_COMMAND)
        assert quick is not None
        with quick.make_context(DEFAULT_COMMAND, [], parent=ctx, resilient_parsing=True) as inner:
            return found + quick.shell_complete(inner, incomplete)


class _LoadCommand(GroupedCommand):
    """A command whose `--abort-on-fail` may do without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        default = f"--abort-on-fail={format_duration(DEFAULT_GRACE_MS)}"
        end = args.index("--") if "--" in args else len(args)
        args = [default if arg == "--abort-on-fail" else arg for arg in args[:end]] + args[end:]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_LoadGroup,
    help="Test what load a server holds, with a verdict.",
    epilog=_EPILOG,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=_LoadCommand)
@spread
def quick(
    *,
    url: Url = None,
    target: LoadTargetOptions,
    report: ReportOptions,
    config: ConfigFile = None,
) -> None:
    """Run a short heartbeat and a short broadcast test."""
    from cli.loadcommands import run_quick

    raise typer.Exit(asyncio.run(run_quick(url, target, report)))


def _command_of(scenario: Scenario) -> Callable[..., None]:
    """Return the command that runs a scenario."""

    def run(
        *,
        file: Path | None = None,
        url: str | None,
        load: Any,
        target: LoadTargetOptions,
        gate: GateOptions,
        machine: MachineOptions,
        config: Path | None,
    ) -> None:
        from cli.loadcommands import run_scenario

        raise typer.Exit(asyncio.run(run_scenario(scenario, file, url, load, target, gate, machine)))

    hints: dict[str, Any] = {} if scenario.file is None else {"file": _file_argument(scenario.file)}
    hints |= {"url": Url, "load": scenario.options, "target": LoadTargetOptions}
    hints |= {"gate": GateOptions, "machine": MachineOptions, "config": ConfigFile}
    defaults = {"url": None, "config": None}
    run.__annotations__ = hints
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, inspect.Parameter.empty))
            if name in defaults
            else inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
            for name in hints
        ]
    )
    run.__doc__ = scenario.help
    return spread(run, option_of)


def _file_argument(file: FileArgument) -> Any:
    return Annotated[Path, typer.Argument(metavar=file.metavar, help=file.help)]


for _scenario in SCENARIOS.values():
    app.command(_scenario.name, cls=_LoadCommand)(_command_of(_scenario))


@app.command("find-max", cls=_LoadCommand)
@partial(spread, convert=option_of)
def find_max(
    *,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help=f"{join_words(SEARCHABLE)}.",
            show_default=SEARCHABLE[0],
            autocompletion=choose_from(SEARCHABLE),
        ),
    ] = None,
    url: Url = None,
    search: SearchOptions,
    target: LoadTargetOptions,
    report: ReportOptions,
    config: ConfigFile = None,
) -> None:
    """Find the most that holds, and which threshold limits it."""
    from cli.loadsearch import run_find_max

    if kind is not None and url is None and is_place(kind):
        kind, url = None, kind
    raise typer.Exit(asyncio.run(run_find_max(kind or SEARCHABLE[0], url, search, target, report)))


@app.command(cls=GroupedCommand)
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A summary.json, or a directory with one.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later one.")],
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Compare two runs; fail if the later one is worse."""
    from cli.loadreport import run_compare

    raise typer.Exit(run_compare(before, after, json=json))

"""Private parts of what people see: Textual, and Typer with the Click that it carries."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import redirect_stdout, suppress
from typing import Any
from unittest import mock

import pytest
import typer
from textual.app import App
from textual.screen import Screen
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command
from typer.models import OptionInfo

from tests.private.rows import part


@part(
    "Textual: `_push_result_callback`",
    "_push_result_callback",
    mend="push the first screen, or do what `_init_mode` does",
)
def check_first_screen() -> None:
    """A first screen can be switched once it has a result callback, as `push_screen` gives it to every other."""

    class First(App[None]):
        def get_default_screen(self) -> Screen[None]:
            screen = Screen[None]()
            screen._push_result_callback(screen, None)
            return screen

    async def main() -> None:
        app, other = First(), Screen[None]()
        async with app.run_test():
            await app.switch_screen(other)
            assert app.screen is other

    asyncio.run(main())


@part(
    "Textual: how an app dies",
    "_fatal_error",
    "_exception",
    "_close_messages_no_wait",
    mend="find what prints the traceback: it shows the values of variables, and tokens are among them",
)
def check_fatal_error() -> None:
    """`_fatal_error` prints the traceback, `_exception` is what was raised, `_close_messages_no_wait` ends the app."""

    class Failing(App[None]):
        was_asked = False

        def on_mount(self) -> None:
            raise ValueError("on purpose")

        def _fatal_error(self) -> None:
            self.was_asked = True
            self._close_messages_no_wait()

    app = Failing()
    with suppress(ValueError):  # not in every mode
        asyncio.run(app.run_async(headless=True))
    assert app.was_asked
    assert str(app._exception) == "on purpose"
    assert not app._exit_renderables


@part(
    "Typer: the Click that it carries (`typer._click`)",
    "typer.core",
    "OptionInfo",
    "get_parameter_source",
    "resolve_command",
    "show_envvar",
    "get_help_record",
    "resilient_parsing",
    "format_message",
    mend="look for the same thing in the new Click, or keep `typer` below that release",
)
def check_click() -> None:
    """Groups, commands, contexts, parameters and errors have the methods and attributes of Click 8."""
    called: list[str] = []

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            called.append("list_commands")
            return super().list_commands(ctx)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            called.append("get_command")
            return super().get_command(ctx, cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            called.append("resolve_command")
            return super().resolve_command(ctx, args)

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            called.append("parse_args")
            return super().parse_args(ctx, args)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            called.append("format_commands")
            with formatter.section("Commands"):
                formatter.write_dl([("run", "runs")])

    class Command(TyperCommand):
        def invoke(self, ctx: Any) -> Any:
            called.append("invoke")
            return super().invoke(ctx)

        def format_options(self, ctx: Any, formatter: Any) -> None:
            called.append("format_options")
            rows = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
            assert ("-l, --level N", "How much.") in [(first, rest[:9]) for first, rest in rows]

    app = typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None)

    @app.command(cls=Command)
    def run(
        ctx: typer.Context,
        level: int = typer.Option(1, "--level", "-l", metavar="N", help="How much.", rich_help_panel="Some"),
        loud: bool = typer.Option(False, "--loud/--quiet"),
        other: list[str] = typer.Option([], "--other"),  # noqa: B008
    ) -> None:
        context: Any = ctx
        sources = [context.get_parameter_source(name).name for name in ("level", "loud", "other")]
        assert sources == ["COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP"]
        assert (context.params["level"], context.params["loud"], [*context.params["other"]]) == (2, True, ["x"])
        assert (context.command_path, context.parent.command) == ("tool run", root)
        assert context.find_root().meta["key"] == 3
        assert not context.resilient_parsing
        assert "--help" in context.help_option_names

    @app.command()
    def last() -> None: ...

    assert isinstance(typer.Option(1, rich_help_panel="Some"), OptionInfo)
    root: Any = get_command(app)
    options = {param.name: param for param in root.commands["run"].params}
    level, loud, other = options["level"], options["loud"], options["other"]
    assert isinstance(level, TyperOption)
    assert (level.opts, level.metavar, level.default, level.required) == (["--level", "-l"], "N", 1, False)
    assert (level.type.name[:3], level.rich_help_panel, level.multiple) == ("int", "Some", False)
    assert (loud.secondary_opts, loud.is_bool_flag, other.multiple) == (["--quiet"], True, True)
    loud.envvar, loud.show_envvar = "LOUD", False
    with mock.patch.dict(os.environ, LOUD="1"):
        settings = {"default_map": {"run": {"other": ["x"]}}}
        with root.make_context("tool", ["run", "-l", "2"], **settings) as context:
            context.meta["key"] = 3
            root.invoke(context)
    assert {"get_command", "resolve_command", "parse_args", "invoke"} <= set(called)
    with redirect_stdout(io.StringIO()) as shown:
        for arguments in (["--help"], ["run", "--help"]):
            root.main(arguments, prog_name="tool", standalone_mode=False)
    assert "Usage: tool run" in shown.getvalue()
    for arguments, message in ((["run", "--level", "x"], "not a valid int"), (["runs"], "runs")):
        with pytest.raises(Exception, match=message) as raised:
            root.main(arguments, prog_name="tool", standalone_mode=False)
        error: Any = raised.value
        assert message in error.format_message()
        assert message in error.message
        assert error.ctx.command_path.startswith("tool")
    assert root.shell_complete(context, "la")[0].value == "last"
    assert {"list_commands", "format_commands", "format_options"} <= set(called)


@part("Typer: `typer.completion`", "typer.completion", mend="ask the shells' classes in `typer` for the scripts")
def check_completion() -> None:
    """`completion_init` readies what answers the shells, and `get_completion_script` returns what asks."""
    completion_init()
    for shell in ("bash", "zsh", "fish"):
        script = get_completion_script(prog_name="tool", complete_var="_TOOL_COMPLETE", shell=shell)
        assert f"_TOOL_COMPLETE=complete_{shell}" in script

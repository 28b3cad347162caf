"""`wsctl`: finds the command, runs it, and turns every error into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli import collector
from cli.exits import ExitCode, exit_code_of
from cli.grouped import GroupedCommand
from cli.origins import in_plain_words, name_place
from cli.output import ReaderGoneError, fail, fail_with_traceback, guard_logging, out
from cli.settings import bind_environment
from cli.streams import prepare_streams
from wscore.errors import WsctlError
from wscore.installation import DISTRIBUTION, NotInstalledError
from wscore.text import describe

# name -> (module, one-line help). A module is imported when its command is asked for, so `wsctl --help` stays fast.
COMMANDS: Final = {
    "serve": ("cli.serve", "Run the server."),
    "connect": ("cli.connect", "Talk to any server: a terminal client, or JSON lines in a pipe."),
    "replay": ("cli.replay", "Play a recording back to a server."),
    "voice": ("cli.voice", "Speak to a voice server."),
    "loadtest": ("cli.loadtest", "Test what load a server holds, with a verdict."),
    "publish": ("cli.publish", "Publish a message to clients of a running server."),
    "rooms": ("cli.rooms", "List the rooms of a running server."),
    "sessions": ("cli.sessions", "List the sessions of a running server."),
    "connections": ("cli.connections", "List who is connected to a running server."),
    "history": ("cli.history", "Print or remove what a room or a session keeps."),
    "kick": ("cli.kick", "Close connections of a running server."),
    "revoke": ("cli.revoke", "Revoke tokens at a running server."),
    "top": ("cli.top", "Watch a running server: load, connections, rooms."),
    "token": ("cli.token", "Mint and inspect guest tokens and JWTs."),
    "explain": ("cli.explain", "Explain a close code, an error code or a message type."),
    "completion": ("cli.completion", "Print the script with which a shell completes wsctl."),
}
DEBUG_VARIABLE: Final = "WSCTL_DEBUG"
COMPLETE_VARIABLE: Final = "_WSCTL_COMPLETE"  # set by the scripts of `wsctl completion`
_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


def load_command(name: str) -> Any:
    """Import a command and give its options their environment variables.

    A module offers either `command`, a function, or `app`, a group of them.
    """
    module = importlib.import_module(COMMANDS[name][0])
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_CONTEXT)
        app.command(name, cls=GroupedCommand, epilog=getattr(module, "EPILOG", None))(module.command)
    command = get_command(app)
    command.name = name
    bind_environment(command)
    return command


class _LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            mend = f"did you mean {close[0]!r}?" if close else "see wsctl --help"
            ctx.fail(f"there is no command {args[0]!r}; {mend}")
        found = super().resolve_command(ctx, args)
        collector.work()
        guard_logging()
        return found

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        # The names are known; to ask the commands themselves for their help would import them all.
        return [SimpleNamespace(value=name, help=COMMANDS[name][1]) for name in COMMANDS if name.startswith(incomplete)]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if (named := name_place(error, ctx)) is not error:
                raise named from None
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


_root = typer.Typer(cls=_LazyGroup, add_completion=False, rich_markup_mode=None, context_settings=_CONTEXT)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out(f"wsctl {version(DISTRIBUTION)}")
        raise typer.Exit


@_root.callback(
    no_args_is_help=True,
    epilog="Every option can also be set as WSCTL_OPTION_NAME in the environment or in wsctl.toml.",
)
def _wsctl(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_print_version, help="Show the version."),
) -> None:
    """Serve, talk to and test real-time applications that speak JSON envelopes over WebSocket.

    connect, replay and loadtest go with any other WebSocket server too: Socket.IO, Phoenix, GraphQL, JSON-RPC, plain
    JSON or text.
    """


def main() -> NoReturn:
    """Run the command line; the one place where an exception becomes a line and an exit code."""
    collector.rest()
    prepare_streams()
    if os.environ.get(COMPLETE_VARIABLE):
        _answer_shell()
    try:
        code = _run()
    except ReaderGoneError:
        _exit(ExitCode.DONE)
    except WsctlError as error:
        _fail(str(error), exit_code_of(error), error)
    except typer.Abort:
        _exit(ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        _exit(ExitCode.INTERRUPTED)
    except OSError as error:
        _fail(describe(error), ExitCode.FAILED, error)
    except ModuleNotFoundError as error:  # an installation without the terminal client or the load tester (ADR 0007)
        _fail(str(NotInstalledError(error.name or str(error))), ExitCode.FAILED, error)
    except Exception as error:
        _fail(f"internal error: {describe(error)}; {DEBUG_VARIABLE}=1 shows the traceback", ExitCode.FAILED, error)
    _exit(code)


def _run() -> int:
    """Run the command and return its exit code; what it was given wrongly is said here."""
    try:
        code = get_command(_root).main(prog_name="wsctl", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # which a usage error of the argument parser has
            raise
        return _usage(error)
    return code if isinstance(code, int) else ExitCode.DONE


def _answer_shell() -> NoReturn:
    """Complete what somebody types: a prompt is no place for errors, so there is nothing to offer instead."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    try:
        get_command(_root).main(prog_name="wsctl", standalone_mode=False)
    except Exception:
        _exit(ExitCode.FAILED)
    _exit(ExitCode.DONE)


def _usage(error: Any) -> ExitCode:
    message = in_plain_words(error.format_message())
    if message.startswith("Usage:"):  # a bare `wsctl` or `wsctl token`: its help is the message
        out(message)
        return ExitCode.USAGE
    path = error.ctx.command_path if getattr(error, "ctx", None) else "wsctl"
    fail(f"{message.rstrip('.')}; see {path} --help" if "--help" not in message else message)
    return ExitCode.USAGE


def _fail(text: str, code: ExitCode, error: BaseException) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        fail_with_traceback(error)
        _exit(ExitCode.FAILED)
    fail(text)
    _exit(code)


def _exit(code: int) -> NoReturn:
    sys.exit(int(code))


if __name__ == "__main__":
    main()

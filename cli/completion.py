"""`wsctl completion`: the script with which a shell completes commands, options and their values.

Typer makes the scripts and answers them: each calls `wsctl` with the words so far in variables, see `cli.main`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from cli.output import out
from cli.settings import ConfigFile
from wscore.errors import WsctlError

_WORD: Final = re.compile(r"(?!-)[\w.:@/+%,-]{1,256}")
COMPLETION_S: Final = 1.5  # a little more than the port waits for its processes


class Shell(StrEnum):
    """What there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    config: ConfigFile = None,
) -> None:
    """Print the script that teaches a shell to complete wsctl.

    bash: eval "$(wsctl completion bash)" in ~/.bashrc. zsh: the same with zsh, after compinit, in ~/.zshrc.
    fish: wsctl completion fish > ~/.config/fish/completions/wsctl.fish
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    out(get_completion_script(prog_name="wsctl", complete_var="_WSCTL_COMPLETE", shell=shell.value))


def profile_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the profiles of the settings file that begin so; none when it cannot be read."""
    from cli.profiles import config_path, read_profiles

    try:
        return _beginning(incomplete, read_profiles(config_path(ctx.params.get("config"))))
    except WsctlError:
        return []


def code_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the codes, disconnects and message types that can be explained and begin so."""
    from wscore.codes import CLOSES, ERRORS
    from wscore.disconnects import DISCONNECTS
    from wscore.messages import MESSAGES

    return _beginning(incomplete, (*(str(int(code)) for code in CLOSES), *DISCONNECTS, *ERRORS, *MESSAGES))


def room_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return rooms of the running server that begin so, the largest first; none where it does not answer at once."""
    return _group_names(ctx, "rooms", incomplete)


def session_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return sessions likewise."""
    return _group_names(ctx, "sessions", incomplete)


def _group_names(ctx: typer.Context, kind: str, incomplete: str) -> list[str]:
    from cli.secrets import read_key
    from wsclient.publishing.publisher import Publisher

    try:
        key = read_key("ops", ctx.params.get("ops_key_file"))
        with Publisher(ctx.params.get("ops_url"), key, timeout_s=COMPLETION_S, retries=0) as publisher:
            page: Any = getattr(publisher, kind)(prefix=incomplete, order="size")
        return _beginning(incomplete, (row.name for row in getattr(page, kind)))
    except WsctlError:
        return []


def choose_from(names: Iterable[str]) -> Any:
    """Return a completion that offers these."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _beginning(incomplete, names)

    return complete


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    # Shells put in, and zsh even expands, what they are given: names that a server or a file made are offered only if
    # no shell sees more in them than a word.
    return [name for name in names if name.startswith(incomplete) and _WORD.fullmatch(name)]


command = completion

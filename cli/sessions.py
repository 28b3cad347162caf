"""`wsctl sessions`: the sessions of a running server or cluster, and how many connections are in each."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.completion import session_names
from cli.operating import list_groups
from cli.options.operator import GroupsOptions, OperatorOptions
from cli.options.output import Json
from cli.settings import ConfigFile
from cli.spreading import spread


@spread
def sessions(
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX", help="How their names begin.", show_default=False, autocompletion=session_names
        ),
    ] = "",
    *,
    shown: GroupsOptions,
    target: OperatorOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """List the sessions that somebody is in, the largest first.

    It asks the operations port of a server, and through it all that share its broker. Exits with 1 if one of them
    did not answer.
    """
    list_groups("session", target, prefix, shown, json=json)


command = sessions

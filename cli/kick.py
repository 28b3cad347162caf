"""`wsctl kick`: ends connections of a running server or cluster, of a user or a single one."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.exits import ExitCode
from cli.operating import confirm, end_with
from cli.options.operator import KickOptions, OperatorOptions
from cli.options.output import Json
from cli.output import note, out, out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.text import neutralise
from wscore.units import counted_noun


@spread
def kick(
    who: Annotated[str | None, typer.Argument(metavar="USER", help="All connections of this user.")] = None,
    *,
    how: KickOptions,
    target: OperatorOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Close the connections of a user, or one connection.

    At a terminal it asks first. A user with a good token may connect again: `wsctl revoke` keeps somebody out. Exits
    with 0 if all processes answered and a connection was closed, else with 1.
    """
    if (who is None) == (how.connection is None):
        raise ConfigError("USER", "name one user, or one --connection")
    named = f"user {who}" if who is not None else f"connection {how.connection}"
    with target.asking() as publisher:

        def question() -> str:
            if who is None:
                return f"close connection {how.connection}?"
            count = publisher.connections(user=who, limit=1).total
            return f"close {counted_noun(count, 'connection')} of user {who}?"

        confirm(question, yes=how.yes)
        result = publisher.disconnect(user=who, connection=how.connection, code=how.code, reason=how.reason)
    if json:
        out_json({"disconnected": result.disconnected, "missing": result.missing})
    elif result.disconnected:
        closed = f"{counted_noun(result.disconnected, 'connection')} of {named}" if who is not None else named
        out(f"closed {neutralise(closed)}")
    end_with(result.missing, "what is there may be closed or not")
    if not result.disconnected:
        note(f"wsctl: {named} has no connection" if who is not None else f"wsctl: there is no {named}")
        raise typer.Exit(ExitCode.FAILED)


command = kick

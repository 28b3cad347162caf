"""What the commands have in common that act on a running server: questions, what is missing, texts of strangers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import typer

from cli.exits import ExitCode
from cli.options.operator import GroupsOptions, OperatorOptions
from cli.output import note, out, out_json
from cli.stdin import is_terminal
from wscore.errors import ConfigError
from wscore.operations import GroupRow, RoomsPage, SessionsPage
from wscore.text import neutralise
from wscore.units import counted_noun

MAX_PAGE: Final = 1000  # of what one request lists


def confirm(question: str | Callable[[], str], *, yes: bool) -> None:
    """Ask somebody at a terminal, unless `yes`; ends with code 1 for whatever answer is not yes.

    A question that has to be put together is so only where it is asked.
    """
    if yes or not is_terminal():
        return
    text = question if isinstance(question, str) else question()
    sys.stderr.write(f"{neutralise(text)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        note("nothing was done")
        raise typer.Exit(ExitCode.FAILED)


def end_with(missing: Sequence[str], what: str) -> None:
    """End with code 1 if processes did not answer, after saying which, and `what` that means."""
    if missing:
        note(f"wsctl: no answer within a second from {', '.join(missing)}: {what}")
        raise typer.Exit(ExitCode.FAILED)


def pages(fetch: Callable[..., Any], limit: int, **options: Any) -> Iterator[Any]:
    """Yield one page of a list after the other, until there are `limit` items or no more."""
    left, cursor = limit, None
    while left > 0:
        page = fetch(limit=min(left, MAX_PAGE), cursor=cursor, **options)
        yield page
        left, cursor = left - MAX_PAGE, page.next
        if cursor is None:
            return


def missing_of(found: Sequence[Any]) -> list[str]:
    """Return who did not answer for one page or another."""
    return sorted({name for page in found for name in page.missing})


def list_groups(noun: str, target: OperatorOptions, prefix: str, shown: GroupsOptions, *, json: bool) -> None:
    """Print the rooms or sessions that somebody is in; `noun` is which."""
    if shown.order == "size" and shown.limit >= MAX_PAGE:
        raise ConfigError("--limit", f"by size there are at most {MAX_PAGE - 1}", "--order name lists them all")
    with target.asking() as publisher:
        fetch = publisher.rooms if noun == "room" else publisher.sessions
        if shown.order == "size":  # one page, of which one more tells whether that is all
            found: list[RoomsPage | SessionsPage] = [fetch(prefix=prefix, order="size", limit=shown.limit + 1)]
        else:
            found = list(pages(fetch, shown.limit + 1, prefix=prefix))
    rows = [row for page in found for row in _rows(page)]
    missing, is_more = missing_of(found), len(rows) > shown.limit
    rows = rows[: shown.limit]
    if json:
        listed = [{"name": row.name, "connections": row.connections} for row in rows]
        out_json({f"{noun}s": listed, "missing": missing, "more": is_more})
    else:
        width = max((len(f"{row.connections:,}") for row in rows), default=0)
        for row in rows:
            out(f"{row.connections:>{width},}  {neutralise(row.name)}")
        if not rows:
            note(f"nobody is in a {noun}" + (f" whose name begins so: {prefix}" if prefix else ""))
        elif is_more:
            note(f"these are {counted_noun(len(rows), noun)}, and there are more: --limit")
    end_with(missing, "the list is without its connections")


def _rows(page: RoomsPage | SessionsPage) -> list[GroupRow]:
    return page.rooms if isinstance(page, RoomsPage) else page.sessions

"""`wsctl connections`: who is connected to a running server or cluster, since when, from where, and in which rooms."""

from __future__ import annotations

from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, Final

from msgspec import to_builtins

from cli.operating import end_with, missing_of, pages
from cli.options.operator import FoundOptions, OperatorOptions
from cli.options.output import Json
from cli.output import note, out, out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.operations import ConnectionRow
from wscore.text import neutralise
from wscore.units import counted_noun, format_age
from wscore.wallclock import now_ms

_INDENTS: Final[dict[str, Any]] = {"initial_indent": "  ", "subsequent_indent": "    "}


@spread
def connections(*, found: FoundOptions, target: OperatorOptions, json: Json = False, config: ConfigFile = None) -> None:
    """List connections, the oldest first.

    Two lines each: its id, how long it is open, what waits for it to read, its address; below them the user, the
    session and the rooms. Exits with 1 if a process that shares the broker did not answer.
    """
    filters = {
        "user": found.user,
        "room": found.room,
        "session": found.session,
        "address": found.address,
        "min_age": found.older,
        "max_age": found.younger,
        "min_buffered": found.buffered,
    }
    with target.asking() as publisher:
        listed = list(pages(publisher.connections, found.limit, **filters))
    rows = [row for page in listed for row in page.connections]
    total, missing = listed[-1].total, missing_of(listed)
    if json:
        out_json({"connections": to_builtins(rows), "total": total, "missing": missing})
    else:
        _print(rows)
        if total > len(rows):
            note(f"these are {len(rows):,} of {counted_noun(total, 'connection')}: --limit")
        elif not rows:
            note("there is no such connection" if any(filters.values()) else "nobody is connected")
    end_with(missing, "the list is without its connections")


def _print(rows: list[ConnectionRow]) -> None:
    at_ms, width = now_ms(), get_terminal_size().columns
    nodes = {row.node for row in rows}
    cells = [
        (row.id, format_age(at_ms - row.opened_at), f"{row.buffered_bytes:,} B", row.address or "-") for row in rows
    ]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(3)]
    for row, (id_, age, buffered, address) in zip(rows, cells, strict=True):
        first = (f"{neutralise(id_):<{widths[0]}}", f"{age:>{widths[1]}}", f"{buffered:>{widths[2]}}")
        out("  ".join((*first, neutralise(address))))
        told = f"{_who(row)}  at {row.node}" if len(nodes) > 1 else _who(row)
        for line in wrap(neutralise(told), width, break_long_words=False, break_on_hyphens=False, **_INDENTS):
            out(line)


def _who(row: ConnectionRow) -> str:
    told: list[Any] = [row.user, f"session {row.session}"]
    if row.rooms:
        more = row.room_count - len(row.rooms)
        told.append(f"rooms {' '.join(row.rooms)}" + (f" and {more:,} more" if more > 0 else ""))
    return "  ".join(told)


command = connections

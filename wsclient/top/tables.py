"""What a view of a server shows as tables: load by worker, connections, rooms, endings; foreign texts are escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from textual.content import Content
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from wsclient.top.reading import Wanted
from wsclient.top.sample import ALONE, Ending, Overview, WorkerLoad
from wscore.codes import CLOSES, CloseCode
from wscore.operations import ConnectionRow, GroupRow
from wscore.text import neutralise
from wscore.units import format_age

SHOWN: Final = 200  # rows of a table: who wants others filters
UNKNOWN: Final = "–"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Order(Enum):
    """How connections are sorted: the first of a table is the largest, or the first by name."""

    WAITING = "waiting"
    AGE = "age"
    USER = "user"
    ADDRESS = "address"


_KEYS: Final[dict[Order, Callable[[ConnectionRow], Any]]] = {
    Order.WAITING: lambda row: (-row.buffered_bytes, row.opened_at),
    Order.AGE: lambda row: row.opened_at,
    Order.USER: lambda row: (row.user, row.opened_at),
    Order.ADDRESS: lambda row: (row.address or "", row.opened_at),
}


def chosen(rows: Sequence[ConnectionRow], wants: Wanted, order: Order, *, is_reversed: bool) -> list[ConnectionRow]:
    """Return the connections that have all words of a filter, sorted."""
    found = [row for row in rows if _has(row, wants.words)]
    return sorted(found, key=_KEYS[order], reverse=is_reversed)


def _has(row: ConnectionRow, words: Sequence[str]) -> bool:
    text = " ".join((row.id, row.user, row.session, row.address or "", row.node, *row.rooms)).casefold()
    return all(word in text for word in words)


def size_text(size: float | None) -> str:
    """Return bytes in at most seven characters: `640 B`, `1.5 MiB`."""
    if size is None:
        return UNKNOWN
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def count_text(value: float | None) -> str:
    """Return a count or a rate; one below ten with a decimal unless it is whole."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


class _Cell:
    """A text of a cell, in its place; Textual parses markup in a str, so it must be none."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def placed(text: str, width: int, *, right: bool = False) -> str:
    """Return a text in so many cells, cut with an ellipsis; nothing in it moves a cursor or is unseen."""
    content = Content(neutralise(text)).truncate(width, ellipsis=True)
    free = " " * (width - content.cell_length)
    return free + content.plain if right else content.plain + free


class Table(DataTable[_Cell]):
    """A table whose cursor stays with its row when rows come anew; columns are (title, width, right)."""

    COLUMNS: tuple[tuple[str, int, bool], ...] = ()

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)

    def on_mount(self) -> None:
        """Make the columns."""
        for title, width, right in self.COLUMNS:
            self.add_column(placed(title, width, right=right), width=width)

    @property
    def marked(self) -> str | None:
        """The key of the row under the cursor."""
        if not self.is_valid_coordinate(self.cursor_coordinate):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def fill(self, rows: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Show these rows, each with its key."""
        marked, scroll_y = self.marked, self.scroll_y
        self.clear()
        for key, cells in rows:
            shaped = zip(cells, self.COLUMNS, strict=True)
            self.add_row(*(_Cell(placed(text, width, right=right)) for text, (_, width, right) in shaped), key=key)
        keys = [key for key, _ in rows]
        if marked in keys:
            self.cursor_coordinate = Coordinate(keys.index(marked), 0)
            self.scroll_to(y=scroll_y, animate=False, immediate=True)


class LoadTable(Table):
    """One row a worker, and one for all where there are several."""

    COLUMNS = (
        ("worker", 6, False),
        ("conns", 7, True),
        ("in/s", 8, True),
        ("out/s", 9, True),
        ("in B/s", 9, True),
        ("out B/s", 9, True),
        ("lag ms", 6, True),
        ("waiting", 9, True),
    )

    def show(self, view: Overview) -> None:
        """Show the load."""
        loads = view.loads if len(view.loads) == 1 else [view.total, *view.loads]
        self.fill([(load.name, _load_cells(load)) for load in loads])


def _load_cells(load: WorkerLoad) -> list[str]:
    return [
        "server" if load.name == ALONE else load.name,
        f"{load.connections:,}",
        count_text(load.received_per_s),
        count_text(load.delivered_per_s),
        size_text(load.received_bytes_per_s),
        size_text(load.delivered_bytes_per_s),
        UNKNOWN if load.lag_ms is None else f"{load.lag_ms:.1f}",
        size_text(load.waiting_bytes),
    ]


class ConnectionTable(Table):
    """Connections, and what waits for each to read it."""

    COLUMNS = (
        ("user", 18, False),
        ("address", 15, False),
        ("age", 6, True),
        ("session", 13, False),
        ("rooms", 5, True),
        ("waiting", 9, True),
    )

    def show(self, rows: Sequence[ConnectionRow], now_ms: int) -> None:
        """Show the first of them."""
        self.fill([(row.id, _connection_cells(row, now_ms)) for row in rows[:SHOWN]])


def _connection_cells(row: ConnectionRow, now_ms: int) -> list[str]:
    return [
        row.user,
        row.address or UNKNOWN,
        format_age(now_ms - row.opened_at),
        row.session,
        str(row.room_count),
        size_text(row.buffered_bytes),
    ]


class RoomTable(Table):
    """The largest rooms."""

    COLUMNS = (("connections", 11, True), ("room", 62, False))

    def show(self, rows: Sequence[GroupRow]) -> None:
        """Show them."""
        self.fill([(row.name, [f"{row.connections:,}", row.name]) for row in rows])


class EndingTable(Table):
    """How connections ended: most of lately first."""

    COLUMNS = (("now", 6, True), ("total", 9, True), ("code", 5, True), ("ended as", 20, False), ("", 26, False))

    def show(self, endings: Sequence[Ending]) -> None:
        """Show them."""
        self.fill([(f"{ending.code} {ending.disconnect}", _ending_cells(ending)) for ending in endings])


def _ending_cells(ending: Ending) -> list[str]:
    known = int(ending.code) if ending.code.isdecimal() else 0
    meaning = CLOSES[CloseCode(known)].meaning if known in list(CloseCode) else ""
    return [
        f"+{ending.recent:,}" if ending.recent else "",
        f"{ending.total:,}",
        ending.code,
        ending.disconnect,
        meaning,
    ]

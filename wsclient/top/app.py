"""The live view of `wsctl top`: reads a sample at an interval, shows it, and closes connections after a question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, Static, TabbedContent, TabPane

from wsclient.publishing.errors import OperationsError, OperationsKeyError
from wsclient.publishing.publisher import AsyncPublisher
from wsclient.top.kick import KickQuestion, Whom
from wsclient.top.reading import CONNECTIONS, ROOMS, Wanted, read_sample, wanted
from wsclient.top.sample import ServerSample, overview
from wsclient.top.tables import (
    SHOWN,
    ConnectionTable,
    EndingTable,
    LoadTable,
    Order,
    RoomTable,
    chosen,
    count_text,
    size_text,
)
from wsclient.tui.terminalapp import TerminalApp
from wscore.operations import ConnectionRow
from wscore.text import neutralise
from wscore.units import counted_noun
from wscore.wallclock import now_ms

TABS: Final = ("connections", "rooms", "endings")
_ASKED: Final = ("user", "room", "session", "address", "slow")  # of a filter: what the server finds


class TopScreen(Screen[None]):
    """Shows what `port`, an operations port at `url`, says every `interval_s`, from the sample `first` on.

    A port that gives no answer is asked again at the next interval, and said to be away until it answers.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('connections')", "Connections", show=False),
        Binding("2", "tab('rooms')", "Rooms", show=False),
        Binding("3", "tab('endings')", "Endings", show=False),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("slash", "filter", "Filter"),
        Binding("k", "kick", "Kick"),
        Binding("space", "pause", "Pause"),
        Binding("escape", "leave_filter", "Leave the filter", show=False),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(
        self,
        port: AsyncPublisher,
        url: str,
        first: ServerSample,
        *,
        interval_s: float,
        now_ms: Callable[[], int],
        on_drawn: Callable[[], object],
    ) -> None:
        super().__init__()
        self._port = port
        self._url = url
        self._interval_s = interval_s
        self._now_ms = now_ms
        self._on_drawn = on_drawn
        self._sample = first
        self._before: ServerSample | None = None
        self._wants = Wanted()
        self._order = Order.WAITING
        self._is_reversed = False
        self._is_paused = False
        self._found = 0  # connections that the filter has left
        self._problem = ""
        self._asked = asyncio.Event()  # for a sample before the interval is over

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield Static(id="status", markup=False)
        yield LoadTable(id="loads")
        yield Static(id="facts", markup=False)
        with TabbedContent(initial="connections"):
            with TabPane("1 Connections", id="connections"):
                yield ConnectionTable(id="connection-table")
            with TabPane("2 Rooms", id="rooms"):
                yield RoomTable(id="room-table")
            with TabPane("3 Endings", id="endings"):
                yield EndingTable(id="ending-table")
        yield Static(id="about", markup=False)
        yield Input(placeholder="words, user:NAME room:NAME session:ID address:10.0.0.0/8 slow", id="filter")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show the first sample, and go on reading."""
        self.query_one("#loads", LoadTable).can_focus = False
        self._show()
        self.action_tab(TABS[0])
        self.call_after_refresh(self._on_drawn)
        self.run_worker(self._read())

    async def _read(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._asked.wait()
            self._asked.clear()
            if not self._is_paused:
                await self._read_once()

    async def _read_once(self) -> None:
        wants = self._wants
        try:
            sample = await read_sample(self._port, wants)
        except OperationsError as error:
            self._problem = str(error)
        else:
            self._before = None if self._problem else self._sample  # what happened meanwhile is no rate of now
            self._sample, self._problem = sample, ""
            if wants != self._wants:
                self._asked.set()
        if self.query(LoadTable):  # else it is about to end
            self._show()

    def _show(self) -> None:
        """Draw everything anew."""
        sample = self._sample
        view = overview(sample, self._before)
        self.query_one("#loads", LoadTable).show(view)
        facts = [
            f"{count_text(view.total.slow_readers)} slow readers, {size_text(view.total.waiting_bytes)} waiting",
            f"{view.dropped:,} messages dropped" + (f" (+{view.dropped_recent:,})" if view.dropped_recent else ""),
        ]
        if rooms := sample.rooms.rooms:
            facts.append(f"largest room {neutralise(rooms[0].name)[:40]} ({rooms[0].connections:,})")
        if view.endings and view.endings[0].recent:
            ended = ", ".join(f"{ending.code} +{ending.recent:,}" for ending in view.endings[:4] if ending.recent)
            facts.append(f"closed {ended}")
        self.query_one("#facts", Static).update(Content("  ".join(facts)))
        rows = sample.connections.connections
        found = chosen(rows, self._wants, self._order, is_reversed=self._is_reversed)
        self._found = len(found)
        self.query_one("#connection-table", ConnectionTable).show(found, self._now_ms())
        self.query_one("#room-table", RoomTable).show(sample.rooms.rooms)
        self.query_one("#ending-table", EndingTable).show(view.endings)
        self._show_status(view.missing)
        self._show_about()

    def _show_status(self, missing: list[str]) -> None:
        parts: list[str | tuple[str, str]]
        parts = (
            [("● ", "$text-error"), ("away: what is shown is old", "$text-error")]
            if self._problem
            else [("● ", "$text-success"), "live"]
        )
        if self._is_paused:
            parts += ["  ", (" paused ", "$text on $warning 60%")]
        parts.append(f"  {neutralise(self._url)}  every {self._interval_s:g} s")
        if self._problem:
            parts.append((f"\n{neutralise(self._problem)}", "$text-error"))
        elif missing:
            parts.append(
                (f"\nno answer from {neutralise(', '.join(missing))}: the lists are without it", "$text-warning")
            )
        self.query_one("#status", Static).update(Content.assemble(*parts))

    def _show_about(self) -> None:
        """Say how much of what is there the table shows."""
        page = self._sample.connections
        tab = self.query_one(TabbedContent).active
        if tab == "rooms":
            shown = len(self._sample.rooms.rooms)
            text = f"the {shown} largest" if shown == ROOMS else counted_noun(shown, "room")
        elif tab == "endings":
            text = "since the server started; now: since the sample before"
        else:
            text = f"{min(self._found, SHOWN):,} of {page.total:,}, sorted by {self._order.value}"
            text += ", reversed" if self._is_reversed else ""
            if page.total > CONNECTIONS:
                text += f" among the {CONNECTIONS:,} oldest: filter for others"
        self.query_one("#about", Static).update(Content(text))

    def action_tab(self, tab: str) -> None:
        """Show a table, and go to it."""
        self.query_one(TabbedContent).active = tab
        self.query_one(f"#{tab.removesuffix('s')}-table").focus()
        self._show_about()

    def on_tabbed_content_tab_activated(self) -> None:
        """Say what the table is."""
        self._show_about()

    def action_sort(self) -> None:
        """Sort by what comes next."""
        orders = list(Order)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self._show()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._is_reversed = not self._is_reversed
        self._show()

    def action_pause(self) -> None:
        """Ask nothing until it is pressed again."""
        self._is_paused = not self._is_paused
        self._asked.set()
        self._show()

    def action_filter(self) -> None:
        """Type a filter."""
        self.action_tab("connections")
        field = self.query_one("#filter", Input)
        field.add_class("-shown")
        field.focus()

    def action_leave_filter(self) -> None:
        """Show all again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("-shown")
        self.action_tab("connections")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what the filter finds; what only the server knows is asked for at once."""
        wants = wanted(event.value)
        is_asked = any(getattr(wants, name) != getattr(self._wants, name) for name in _ASKED)
        self._wants = wants
        if is_asked:
            self._asked.set()
        self._show()

    def on_input_submitted(self) -> None:
        """Go to what was found."""
        self.query_one("#connection-table").focus()

    def action_kick(self) -> None:
        """Ask whether to close the connection under the cursor."""
        marked = self.query_one("#connection-table", ConnectionTable).marked
        row = next((row for row in self._sample.connections.connections if row.id == marked), None)
        if row is None or self.query_one(TabbedContent).active != "connections":
            self.notify("go to a connection first: 1, then up and down", severity="warning")
            return
        self.app.push_screen(KickQuestion(row, self._now_ms()), lambda kick: self._kick(row, kick))

    def _kick(self, row: ConnectionRow, kick: Whom | None) -> None:
        if kick not in (None, Whom.NOBODY):
            self.run_worker(self._disconnect(row, kick))

    async def _disconnect(self, row: ConnectionRow, kick: Whom) -> None:
        try:
            if kick is Whom.USER:
                done = await self._port.disconnect(user=row.user)
            else:
                done = await self._port.disconnect(connection=row.id)
        except OperationsKeyError as error:
            self.notify(f"{error}: kicking wants a key that may do more than look", severity="error", markup=False)
        except OperationsError as error:
            self.notify(neutralise(str(error)), severity="error", markup=False)
        else:
            told = f"closed {counted_noun(done.disconnected, 'connection')} of {neutralise(row.user)}"
            if done.missing:
                told += f"; no answer from {neutralise(', '.join(done.missing))}"
            is_done = done.disconnected and not done.missing
            self.notify(told, severity="information" if is_done else "warning", markup=False)
            self._asked.set()


class TopApp(TerminalApp):
    """The live view; `on_drawn` is called once its first screen is to be seen."""

    TITLE = "wsctl top"
    CSS = """
    #status { height: auto; max-height: 3; background: $panel; padding: 0 1; }
    LoadTable { height: auto; max-height: 9; }
    #facts { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    TabPane Table { height: 1fr; }
    #about { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    #filter.-shown { display: block; }
    """

    def __init__(
        self,
        port: AsyncPublisher,
        url: str,
        first: ServerSample,
        *,
        interval_s: float,
        now_ms: Callable[[], int] = now_ms,
        on_drawn: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._first_screen = TopScreen(port, url, first, interval_s=interval_s, now_ms=now_ms, on_drawn=on_drawn)

    def get_default_screen(self) -> Screen[None]:
        """Return the one screen."""
        return self._first_screen

"""The parts of the main screen, which every topic of its actions works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.timer import Timer

from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.templates import TemplateContext
from wsclient.tui.io.live import LiveConnection
from wsclient.tui.io.sending import Sender
from wsclient.tui.model.choice import Choice
from wsclient.tui.model.filtered import FilteredView
from wsclient.tui.model.health import Health
from wsclient.tui.model.history import History
from wsclient.tui.model.matches import Matches
from wsclient.tui.model.ring import MessageRing
from wsclient.tui.model.saved import SavedMessages
from wsclient.tui.widgets.bar import Bar
from wsclient.tui.widgets.composer import Composer
from wsclient.tui.widgets.detail import Detail
from wsclient.tui.widgets.handshake import HandshakePanel
from wsclient.tui.widgets.panels import HealthPanel, Latest, Panel, StatusLine, Variables
from wsclient.tui.widgets.stream import Stream
from wscore.foreign import Adapter

if TYPE_CHECKING:
    from wsclient.tui.io.speaking import Speaker


class MainScreenParts(Screen[None]):
    """One connection, or a recording when `live` is None, with what shows it. Times in ms of the wall clock."""

    def __init__(
        self,
        ring: MessageRing,
        health: Health,
        live: LiveConnection | None,
        *,
        title: str,
        history: History,
        saved: SavedMessages,
        now_ms: Callable[[], int],
        templates: TemplateContext,
        record: Path | None = None,
        shows: MessageFilter = EVERYTHING,
        verbose: bool = False,
        open_form: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._ring = ring
        self._health = health
        self._live = live
        self._history = history
        self._saved = saved
        self._now_ms = now_ms
        self._open_form = open_form
        self._templates = templates
        self._record_at_once = record
        self._choice = Choice(shows, heartbeats=live is None)
        self._asked_from_detail = False
        self._repeating: str | None = None
        self._repeat_timer: Timer | None = None
        self._sender = None if live is None else Sender(live, templates, self._say)
        self._speaker: Speaker | None = None  # from the first speech on
        self._shown_state = ""
        self._shown_adapter: Adapter | None = None
        self._view = FilteredView(ring, self._choice.passes)
        self._matches = Matches(self._view)
        self.stream = Stream(ring, self._view, id="stream")
        self.detail = Detail(ring, id="detail")
        self.composer = Composer(history, lambda: list(ring.counts), lambda: self._adapter, id="composer")
        self._status = StatusLine(health, title, id="status")
        panels: tuple[Panel, ...] = (
            HealthPanel(health, ring, id="health"),
            Latest(ring, id="latest"),
            Variables(templates, id="variables"),
            HandshakePanel(health, id="handshake"),
        )
        self._panels = {panel.id: panel for panel in panels}  # from top to bottom
        self._panels["handshake"].set_class(verbose, "-shown")
        self._bar = Bar(id="bar")

    def _draw(self) -> None:
        self.stream.refresh_rows()
        if self._health.state != self._shown_state:
            self._show_status()
        if (adapter := self._adapter) is not self._shown_adapter:
            self._shown_adapter = adapter
            self.composer.suit(adapter)

    def _show_status(self) -> None:
        flags = []
        if self._live is not None and self._live.recording_to is not None:
            flags.append(f"● REC {self._live.recording_to.name}")
        if self._repeating is not None:
            flags.append(self._repeating)
        if self._speaker is not None and self._speaker.is_speaking:
            flags.append("speaking, f5 stops")
        if self._view.is_frozen:
            flags.append(f"paused, {self._view.waiting} waiting")
        elif not self.stream.follows:
            flags.append(f"{self.stream.unseen} new below" if self.stream.unseen else "scrolled up")
        flags += self._choice.flags()
        if not self._choice.search.is_empty:
            self._matches.catch_up()
            place = self._matches.place(self.stream.cursor_number)
            flags.append(f"/{self._choice.search}: {'–' if place is None else place} of {len(self._matches)}")
        if self.has_class("-detail"):
            flags += self.detail.flags()
        self._shown_state = self._health.state
        self._status.show(flags, self._now_ms())

    @property
    def _adapter(self) -> Adapter | None:
        """What the server speaks, None while there is no connection."""
        return None if self._live is None else self._live.adapter

    def _say(self, text: str, severity: str = "information") -> None:
        self.notify(text, severity=severity, markup=False)  # type: ignore[arg-type]

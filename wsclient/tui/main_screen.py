"""The main screen: stream, detail, composer and what stands around them; every action of the command table."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer
from textual.worker import Worker

from wsclient.filters import EVERYTHING, FilterError, MessageFilter
from wsclient.templates import TemplateContext
from wsclient.tui.bar import Bar
from wsclient.tui.choice import Choice
from wsclient.tui.commands import NEEDING_LINK, bindings
from wsclient.tui.composer import Composer
from wsclient.tui.detail import Detail, pretty_json
from wsclient.tui.editing import edit_in_editor, frames_of_file, send_line
from wsclient.tui.filtered import FilteredView
from wsclient.tui.health import Health
from wsclient.tui.history import Draft, History
from wsclient.tui.link import Link
from wsclient.tui.panels import HealthPanel, Latest, StatusLine
from wsclient.tui.ring import MessageRing
from wsclient.tui.sending import Sender
from wsclient.tui.stream import Stream
from wscore.envelope import MessageProtocol
from wscore.errors import WsctlError

if TYPE_CHECKING:
    from wsclient.tui.speaking import Speaker

DRAWS_PER_S: Final = 15
MIN_REPEAT_MS: Final = 1


class MainScreen(Screen[None]):
    """Shows one link, or a recording when `link` is None."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(in_stream=False)]
    DEFAULT_CSS = """
    MainScreen #middle { layout: vertical; height: 1fr; }
    MainScreen.-wide #middle { layout: horizontal; }
    MainScreen Stream { width: 1fr; }
    MainScreen Detail { display: none; }
    MainScreen.-wide Detail { width: 40%; height: 100%; }
    MainScreen.-detail Detail { display: block; }
    """

    def __init__(
        self,
        ring: MessageRing,
        health: Health,
        link: Link | None,
        *,
        title: str,
        history: History,
        protocol: MessageProtocol,
        templates: TemplateContext,
        record: Path | None = None,
        shows: MessageFilter = EVERYTHING,
        open_form: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._ring = ring
        self._health = health
        self._link = link
        self._history = history
        self._protocol = protocol
        self._open_form = open_form
        self._record_at_once = record
        self._choice = Choice(shows, heartbeats=link is None)
        self._repeating: str | None = None
        self._repeat_timer: Timer | None = None
        self._connecting: Worker[None] | None = None
        self._sender = None if link is None else Sender(link, protocol, templates, self._say)
        self._speaker: Speaker | None = None  # from the first speech on
        self._shown_state = ""
        self._view = FilteredView(ring, self._choice.passes)
        self.stream = Stream(ring, self._view, id="stream")
        self.detail = Detail(ring, id="detail")
        self.composer = Composer(history, lambda: list(ring.counts), id="composer")
        self._status = StatusLine(health, title, id="status")
        self._health_panel = HealthPanel(health, id="health")
        self._latest = Latest(ring, id="latest")
        self._bar = Bar(id="bar")

    def compose(self) -> ComposeResult:
        """Yield everything from top to bottom."""
        yield self._status
        yield self._health_panel
        yield self._latest
        with Container(id="middle"):
            yield self.stream
            yield self.detail
        if self._link is not None:
            yield self.composer
        yield self._bar
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Connect, and draw a few times a second whatever came."""
        self.stream.focus()
        self.set_interval(1 / DRAWS_PER_S, self._draw)
        self.set_interval(1, self._tick)
        self._draw()
        self._tick()
        if self._link is not None:
            if self._record_at_once is not None and (problem := self._start_recording(str(self._record_at_once))):
                self._say(problem, "error")
            # Something is to be seen first: the second frame has the keys at the bottom.
            self.call_after_refresh(self.call_after_refresh, self._connect, self._link)

    def on_unmount(self) -> None:
        """Finish the recording, and be quiet."""
        if self._link is not None:
            self._link.stop_recording()
        if self._speaker is not None:
            self._speaker.stop_playing()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what a recording cannot do."""
        return self._link is not None or action not in NEEDING_LINK

    def on_stream_selected(self, event: Stream.Selected) -> None:
        """Show the message under the cursor."""
        if self.has_class("-detail"):
            self.detail.show(event.entry)

    def on_stream_followed(self, event: Stream.Followed) -> None:
        """Say whether the end is followed."""
        self._show_status()

    def on_bar_left(self, event: Bar.Left) -> None:
        """Go back to the stream."""
        self.action_to_stream()

    async def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Send what was written."""
        assert self._sender is not None
        if await self._sender.send(event.draft):
            self.composer.sent(event.draft)

    # What the command table names.

    def action_compose(self) -> None:
        """Go to the composer."""
        self.composer.focus_data()

    def action_to_stream(self) -> None:
        """Go back to the stream."""
        self.stream.focus()

    def action_filter(self) -> None:
        """Ask for a filter."""
        self._bar.ask("filter", str(self._choice.filter), self._set_filter)

    def action_search(self) -> None:
        """Ask for what to search."""
        self._bar.ask("search", str(self._choice.search), self._set_search)

    def action_search_next(self, step: int) -> None:
        """Go to the next match."""
        if self._choice.search.is_empty or not len(self._view):
            return
        start = (self.stream.cursor_position() + step) % len(self._view)
        found = self._view.find(self._choice.is_found, start, step)
        if found is None:
            self._say(f"no match for {self._choice.search}", "warning")
        else:
            self.stream.go_to(found)

    def action_pause(self) -> None:
        """Stop or go on; what came meanwhile is shown then."""
        self._view.is_frozen = not self._view.is_frozen
        self._draw()
        self._show_status()

    def action_errors(self) -> None:
        """Show errors only, or everything."""
        self._choice.errors_only = not self._choice.errors_only
        self._choose_anew()

    def action_heartbeats(self) -> None:
        """Show or hide pings and pongs."""
        self._choice.heartbeats = not self._choice.heartbeats
        self._choose_anew()

    def action_clear(self) -> None:
        """Leave out everything that came so far."""
        self._choice.cleared_before = self._ring.count
        self._choose_anew()

    def action_detail(self) -> None:
        """Show or hide the detail."""
        self.toggle_class("-detail")
        self.detail.show(self.stream.selected)

    def action_health(self) -> None:
        """Show or hide the health panel."""
        self._health_panel.toggle_class("-shown")
        self._health_panel.show()

    def action_latest(self) -> None:
        """Show or hide the latest of each type."""
        self._latest.toggle_class("-shown")
        self._latest.show()

    def action_copy_json(self) -> None:
        """Copy the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self.app.copy_to_clipboard(entry.record.text)
            self._say("copied as JSON")

    def action_copy_send(self) -> None:
        """Copy a command that sends the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self.app.copy_to_clipboard(send_line(entry.record.text))
            self._say("copied as a --send line")

    def action_edit_again(self) -> None:
        """Put the selected message into the composer."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            text = pretty_json(entry.record.text) or entry.record.text
            self.composer.draft = Draft(entry.type or "message", text)
            self.composer.focus_data()

    def action_editor(self) -> None:
        """Write the draft in $EDITOR."""
        draft = self.composer.draft
        try:
            with self.app.suspend():
                text = edit_in_editor(draft.text)
        except WsctlError as error:
            self._say(str(error), "error")
        else:
            self.composer.draft = Draft(draft.type, text)
            self.composer.focus_data()

    def action_record(self) -> None:
        """Begin a recording, or end it."""
        assert self._link is not None
        if self._link.recording_to is not None:
            path = self._link.recording_to
            self._say(f"{self._link.stop_recording()} messages in {path}")
            self._show_status()
        else:
            name = time.strftime("wsctl-%Y%m%d-%H%M%S.jsonl")
            self._bar.ask("record to", name, self._start_recording)

    def action_send_file(self) -> None:
        """Ask for a file to send."""
        self._bar.ask("send file", "", self._send_file)

    def action_speak(self) -> None:
        """Ask for a WAV file to send, or stop sending one."""
        if self._speaker is None or not self._speaker.stop():
            self._bar.ask("send WAV", "", self._speak)

    def action_history(self) -> None:
        """Search the history."""
        from wsclient.tui.picker import DraftPicker

        def chosen(draft: Draft | None) -> None:
            if draft is not None:
                self.composer.draft = draft
                self.composer.focus_data()

        self.app.push_screen(DraftPicker(self._history), chosen)

    def action_repeat(self) -> None:
        """Send the draft every N ms, or stop."""
        if self._repeat_timer is not None:
            self._repeat_timer.stop()
            self._repeat_timer = None
            self._repeating = None
            self._show_status()
        else:
            self._bar.ask("send the message every (ms)", "1000", self._start_repeating)

    def action_reconnect(self) -> None:
        """Connect anew."""
        assert self._link is not None
        if self._connecting is not None:
            self._connecting.cancel()
        self._connect(self._link)

    def action_form(self) -> None:
        """Go to the connect form."""
        if self._open_form is not None:
            self._open_form()

    # How they do it.

    def _connect(self, link: Link) -> None:
        self._connecting = self.run_worker(link.run(), exclusive=True, exit_on_error=True)

    def _set_filter(self, text: str) -> str | None:
        try:
            self._choice.filter = MessageFilter.parse(text)
        except FilterError as error:
            return str(error)
        self._choose_anew()
        return None

    def _set_search(self, text: str) -> str | None:
        try:
            self._choice.search = MessageFilter.parse(text)
        except FilterError as error:
            return str(error)
        self.action_search_next(-1)
        return None

    def _choose_anew(self) -> None:
        self._view.change(self._choice.passes)
        self.stream.show_anew()
        self._draw()
        self._show_status()

    def _start_recording(self, name: str) -> str | None:
        assert self._link is not None
        try:
            self._link.record(Path(name).expanduser())
        except WsctlError as error:
            return str(error)
        self._show_status()
        return None

    def _send_file(self, name: str) -> str | None:
        try:
            frames = frames_of_file(Path(name).expanduser(), self.composer.draft.type)
        except WsctlError as error:
            return str(error)
        assert self._sender is not None
        self.run_worker(self._sender.send_all(frames))
        return None

    def _speak(self, name: str) -> str | None:
        from wsclient.tui.speaking import Speaker, speech_of_file

        assert self._link is not None
        try:
            wav = speech_of_file(Path(name).expanduser())
        except WsctlError as error:
            return str(error)
        self._speaker = self._speaker or Speaker(self._link, self._say)
        self.run_worker(self._speaker.speak(wav))
        return None

    def _start_repeating(self, text: str) -> str | None:
        if not text.strip().isdecimal() or int(text) < MIN_REPEAT_MS:
            return "a whole number of ms"
        assert self._sender is not None
        sender, draft = self._sender, self.composer.draft
        self._repeating = f"every {int(text)} ms"
        self._repeat_timer = self.set_interval(int(text) / 1000, lambda: sender.send(draft))
        self._show_status()
        return None

    def _draw(self) -> None:
        self.stream.refresh_rows()
        if self._health.state != self._shown_state:
            self._show_status()

    def _tick(self) -> None:
        self._health.tick()
        if self._link is not None:
            self._link.flush()
        self._health_panel.show()
        self._latest.show()
        self._show_status()

    def _show_status(self) -> None:
        flags = []
        if self._link is not None and self._link.recording_to is not None:
            flags.append(f"● REC {self._link.recording_to.name}")
        if self._repeating is not None:
            flags.append(self._repeating)
        if self._speaker is not None and self._speaker.is_speaking:
            flags.append("speaking, f5 stops")
        if self._view.is_frozen:
            flags.append(f"paused, {self._view.waiting} waiting")
        elif not self.stream.follows:
            flags.append(f"{self.stream.unseen} new below" if self.stream.unseen else "scrolled up")
        flags += self._choice.flags()
        self._shown_state = self._health.state
        self._status.show(flags, self._protocol.create_envelope("x").timestamp)

    def _say(self, text: str, severity: str = "information") -> None:
        self.notify(text, severity=severity, markup=False)  # type: ignore[arg-type]

"""The main screen: where stream, detail, composer and what stands around them are, and what they tell it."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Footer

from wsclient.tui.actions.connecting import ConnectionActions
from wsclient.tui.actions.selected import SelectedActions
from wsclient.tui.actions.viewing import ViewingActions
from wsclient.tui.actions.writing import WritingActions
from wsclient.tui.commands import NEEDING_SERVER, bindings
from wsclient.tui.model.history import Draft
from wsclient.tui.widgets.bar import Bar
from wsclient.tui.widgets.composer import Composer
from wsclient.tui.widgets.stream import Stream

DRAWS_PER_S: Final = 15


class MainScreen(ViewingActions, SelectedActions, WritingActions, ConnectionActions):
    """Shows one connection, or a recording; every action of the command table is in one of its bases."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(in_stream=False)]
    DEFAULT_CSS = """
    MainScreen .panel {
        height: auto; background: $surface; padding: 0 1; border-bottom: solid $primary 40%; display: none;
    }
    MainScreen .panel.-shown { display: block; }
    MainScreen #middle { layout: vertical; height: 1fr; }
    MainScreen.-wide #middle { layout: horizontal; }
    MainScreen Stream { width: 1fr; }
    MainScreen Detail { display: none; }
    MainScreen.-wide Detail { width: 40%; height: 100%; }
    MainScreen.-detail Detail { display: block; }
    """

    def compose(self) -> ComposeResult:
        """Yield everything from top to bottom."""
        yield self._status
        yield from self._panels.values()
        with Container(id="middle"):
            yield self.stream
            yield self.detail
        if self._live is not None:
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
        if self._live is not None:
            if self._record_at_once is not None and (problem := self._start_recording(str(self._record_at_once))):
                self._say(problem, "error")
            # Something is to be seen first: the second frame has the keys at the bottom.
            self.call_after_refresh(self.call_after_refresh, self._connect, self._live)

    def on_unmount(self) -> None:
        """Finish the recording, and be quiet."""
        if self._live is not None:
            self._live.close()
        if self._speaker is not None:
            self._speaker.stop_playing()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what a recording cannot do."""
        return self._live is not None or action not in NEEDING_SERVER

    def on_stream_selected(self, event: Stream.Selected) -> None:
        """Show the message under the cursor."""
        if self.has_class("-detail"):
            self.detail.show(event.entry)
        if not self._choice.search.is_empty:
            self._show_status()

    def on_stream_followed(self, event: Stream.Followed) -> None:
        """Say whether the end is followed."""
        self._show_status()

    def on_bar_left(self, event: Bar.Left) -> None:
        """Go back to where it was asked."""
        (self.detail if self._asked_from_detail else self.stream).focus()
        self._asked_from_detail = False

    def on_composer_submitted(self, event: Composer.Submitted) -> None:
        """Send what was written; a server that reads nothing holds up no key."""
        self.run_worker(self._send(event.draft))

    async def _send(self, draft: Draft) -> None:
        assert self._sender is not None
        if await self._sender.send(draft):
            self.composer.sent(draft)

    def action_to_stream(self) -> None:
        """Go back to the stream."""
        self.stream.focus()

    def _tick(self) -> None:
        self._health.tick()
        if self._live is not None:
            self._live.flush()
        for panel in self._panels.values():
            panel.show()
        self._show_status()

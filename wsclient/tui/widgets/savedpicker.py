"""Pick a saved message: to change it, to send it at once, or to delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList
from textual.widgets.option_list import Option

from wsclient.tui.model.history import Draft
from wsclient.tui.model.saved import SavedMessages, split_name
from wscore.errors import WsctlError
from wscore.text import neutralise


@dataclass(frozen=True, slots=True)
class Picked:
    """What was chosen, and whether it is to be sent at once."""

    draft: Draft
    sends: bool


class SavedPicker(ModalScreen[Picked | None]):
    """Returns what was picked, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j", "pick(True)", "Send", priority=True, id="saved.send"),
        Binding("ctrl+d", "delete", "Delete", priority=True, id="saved.delete"),
        Binding("tab", "next_collection(1)", "Next collection", priority=True, id="saved.next"),
        Binding("shift+tab", "next_collection(-1)", "The one before", show=False, priority=True, id="saved.previous"),
        Binding("escape", "leave", "Leave", id="saved.leave"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True, id="saved.down"),
        Binding("up,ctrl+p", "move(-1)", "Up", show=False, priority=True, id="saved.up"),
    ]
    DEFAULT_CSS = """
    SavedPicker { align: center middle; }
    SavedPicker Vertical { width: 90%; height: 70%; background: $surface; border: round $primary; padding: 0 1; }
    SavedPicker OptionList { height: 1fr; border: none; }
    """

    def __init__(self, saved: SavedMessages) -> None:
        super().__init__()
        self._saved = saved
        self._found: list[tuple[str, Draft] | None] = []  # None where the name of a collection stands

    def compose(self) -> ComposeResult:
        """Yield the search and the list."""
        with Vertical():
            yield Input(placeholder="search the saved messages; enter takes one into the composer", compact=True)
            yield OptionList(markup=False, compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Show all at first."""
        self._search("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        self._search(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the marked one."""
        self.action_pick(False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the one that was clicked."""
        self.action_pick(False)

    def action_pick(self, sends: bool) -> None:
        """Take the marked one, or none."""
        picked = self._marked
        self.dismiss(None if picked is None else Picked(picked[1], sends))

    @property
    def _marked(self) -> tuple[str, Draft] | None:
        index = self.query_one(OptionList).highlighted
        return None if index is None else self._found[index]

    def action_delete(self) -> None:
        """Forget the marked one."""
        marked = self._marked
        if marked is None:
            return
        try:
            self._saved.delete(marked[0])
        except WsctlError as error:
            self.notify(str(error), severity="error", markup=False)
        self._search(self.query_one(Input).value)

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Mark the next or the one before."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    def action_next_collection(self, step: int) -> None:
        """Mark the first message of the next collection, or of the one before, around the end."""
        options = self.query_one(OptionList)
        at = options.highlighted
        firsts = [
            index for index, item in enumerate(self._found) if item and (index == 0 or not self._found[index - 1])
        ]
        if at is None or not firsts:
            return
        own = max(place for place, index in enumerate(firsts) if index <= at)
        options.highlighted = firsts[(own + step) % len(firsts)]

    def _search(self, words: str) -> None:
        try:
            found = self._saved.search(words)
        except WsctlError as error:
            found = []
            self.notify(str(error), severity="error", markup=False)
        self._found = []
        options = self.query_one(OptionList)
        options.clear_options()
        collection = ""
        for name, draft in found:
            own_collection, own_name = split_name(name)
            if own_collection != collection:
                collection = own_collection
                self._found.append(None)
                options.add_option(Option(Content.styled(neutralise(collection), "bold $text-accent"), disabled=True))
            self._found.append((name, draft))
            indent = "  " if collection else ""
            options.add_option(Content(neutralise(f"{indent}{own_name:<20}  {draft.type}  {draft.text[:300]}")))
        options.highlighted = next((index for index, item in enumerate(self._found) if item), None)

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

from wsclient.tui.model.history import Draft
from wsclient.tui.model.saved import SavedMessages
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
        self._found: list[tuple[str, Draft]] = []

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
        index = self.query_one(OptionList).highlighted
        self.dismiss(None if index is None else Picked(self._found[index][1], sends))

    def action_delete(self) -> None:
        """Forget the marked one."""
        index = self.query_one(OptionList).highlighted
        if index is None:
            return
        try:
            self._saved.delete(self._found[index][0])
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

    def _search(self, words: str) -> None:
        try:
            self._found = self._saved.search(words)
        except WsctlError as error:
            self._found = []
            self.notify(str(error), severity="error", markup=False)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            [Content(neutralise(f"{name:<20}  {draft.type}  {draft.text[:300]}")) for name, draft in self._found]
        )
        options.highlighted = 0 if self._found else None

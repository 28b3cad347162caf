"""Search what was sent before, newest first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

from wsclient.tui.model.history import Draft, History
from wscore.text import neutralise

_SHOWN = 200


class DraftPicker(ModalScreen[Draft | None]):
    """Returns the chosen draft, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="picker.leave"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True, id="picker.down"),
        Binding("up,ctrl+r,ctrl+p", "move(-1)", "Up", show=False, priority=True, id="picker.up"),
    ]
    DEFAULT_CSS = """
    DraftPicker { align: center middle; }
    DraftPicker Vertical { width: 90%; height: 70%; background: $surface; border: round $primary; padding: 0 1; }
    DraftPicker OptionList { height: 1fr; border: none; }
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._found: list[Draft] = []

    def compose(self) -> ComposeResult:
        """Yield the search and the list."""
        with Vertical():
            yield Input(placeholder="search what was sent", compact=True)
            yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        """Show everything at first."""
        self._search("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        self._search(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the marked one."""
        index = self.query_one(OptionList).highlighted
        self.dismiss(None if index is None else self._found[index])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the one that was clicked."""
        self.dismiss(self._found[event.option_index])

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Mark the next or the one before."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    def _search(self, words: str) -> None:
        self._found = self._history.search(words)[:_SHOWN]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Content(neutralise(f"{draft.type}  {draft.text[:300]}")) for draft in self._found])
        options.highlighted = 0 if self._found else None

"""A list over the screen, searched as one types: what the pickers of drafts and of saved messages have in common."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

T = TypeVar("T")


class SearchList(ModalScreen[T | None]):
    """Returns what was taken, or None. A subclass fills the list for the words that are searched."""

    PLACEHOLDER: ClassVar[str]
    DEFAULT_CSS = """
    SearchList { align: center middle; }
    SearchList Vertical { width: 90%; height: 70%; background: $surface; border: round $primary; padding: 0 1; }
    SearchList OptionList { height: 1fr; border: none; }
    """

    def compose(self) -> ComposeResult:
        """Yield the search and the list."""
        with Vertical():
            yield Input(placeholder=self.PLACEHOLDER, compact=True)
            yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        """Show all at first."""
        self.search("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        self.search(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the marked one."""
        self.take_marked()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the one that was clicked, which is marked by that."""
        self.take_marked()

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Mark the next or the one before."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    def search(self, words: str) -> None:
        """Fill the list with what has these words."""
        raise NotImplementedError

    def take_marked(self) -> None:
        """Leave with the marked one, or with none."""
        raise NotImplementedError

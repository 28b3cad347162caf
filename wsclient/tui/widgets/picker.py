"""Search what was sent before, newest first."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList

from wsclient.tui.model.history import Draft, History
from wsclient.tui.widgets.searchlist import SearchList
from wscore.text import neutralise

_SHOWN = 200


class DraftPicker(SearchList[Draft]):
    """Returns the chosen draft, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="picker.leave"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True, id="picker.down"),
        Binding("up,ctrl+r,ctrl+p", "move(-1)", "Up", show=False, priority=True, id="picker.up"),
    ]
    PLACEHOLDER = "search what was sent"

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._found: list[Draft] = []

    def take_marked(self) -> None:
        """Leave with the marked draft, or with none."""
        index = self.query_one(OptionList).highlighted
        self.dismiss(None if index is None else self._found[index])

    def search(self, words: str) -> None:
        """Show the newest that have these words."""
        self._found = self._history.search(words)[:_SHOWN]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Content(neutralise(f"{draft.type}  {draft.text[:300]}")) for draft in self._found])
        options.highlighted = 0 if self._found else None

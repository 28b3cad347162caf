"""Pick a saved message: to change it, to send it at once, or to delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Footer, Input, OptionList
from textual.widgets.option_list import Option

from wsclient.tui.model.history import Draft
from wsclient.tui.model.saved import SavedMessages, split_name
from wsclient.tui.widgets.searchlist import SearchList
from wscore.errors import WsctlError
from wscore.text import neutralise

_NAME_CELLS: Final = 24


@dataclass(frozen=True, slots=True)
class Picked:
    """What was chosen, and whether it is to be sent at once."""

    draft: Draft
    sends: bool


class SavedPicker(SearchList[Picked]):
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
    PLACEHOLDER = "search the saved messages; enter takes one into the composer"

    def __init__(self, saved: SavedMessages) -> None:
        super().__init__()
        self._saved = saved
        self._found: list[tuple[str, Draft] | None] = []  # None where the name of a collection stands

    def compose(self) -> ComposeResult:
        """Yield the search, the list, and the keys."""
        yield from super().compose()
        yield Footer(show_command_palette=False, compact=True)

    def take_marked(self) -> None:
        """Take the marked one into the composer."""
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
        self.search(self.query_one(Input).value)

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

    def search(self, words: str) -> None:
        """Show those that have these words, by collection."""
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
            # By cells, not by characters: a name may be of letters that take two.
            column = Content(neutralise(f"{'  ' if collection else ''}{own_name}"))
            column = column.truncate(_NAME_CELLS, ellipsis=True, pad=True)
            rest = neutralise(f"  {draft.type}  {draft.text[:300]}")
            options.add_option(Content.assemble(column, rest))
        options.highlighted = next((index for index, item in enumerate(self._found) if item), None)

"""Where a message is written: its type with completion, its data checked as JSON while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static, TextArea

from wsclient.tui.model.checking import BARE_TYPE, bare_type, describe, problem_of
from wsclient.tui.model.history import Draft, Form, History
from wscore.foreign import Adapter, ProtocolName
from wscore.messages import CLIENT_TYPES
from wscore.text import masked, neutralise


class TypeSuggester(Suggester):
    """Completes message types."""

    def __init__(self, types: Callable[[], Iterable[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._types = types

    async def get_suggestion(self, value: str) -> str | None:
        """Return the first type that begins with what was typed."""
        if not value:
            return None
        return next((name for name in self._types() if name.startswith(value)), None)


class DataArea(TextArea):
    """The text; up on the first line and down on the last go through the history."""

    HELP = """
## Composer

The data of the message. JSON is checked as you type; anything else is sent as text. A whole envelope (an object with a
`type`) is sent as it is, and so is everything to a server that knows no types. `f8` changes what it is sent as: text
that only looks like JSON, a frame with nothing around it, a binary frame of hex, of base64 or of a file. `{{uuid}}`,
`{{now}}`, `{{last.data.x}}` and what `v` captured are filled in when it is sent. Without data a message
is sent if its type is not `message`.

`ctrl+j` sends, up and down go through the history, `ctrl+r` searches it.
"""

    def get_line(self, line_index: int) -> Any:
        """Return a line as it is shown: nothing in it moves the cursor, and nothing is unseen."""
        line = super().get_line(line_index)
        line.plain = masked(line.plain)
        return line

    class HistoryRequested(Message):
        """Asks for the draft before (-1) or after (1)."""

        def __init__(self, step: int) -> None:
            self.step = step
            super().__init__()

    def action_cursor_up(self, select: bool = False) -> None:
        """Go up a line, or back in the history."""
        if self.cursor_at_first_line and not select:
            self.post_message(self.HistoryRequested(-1))
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Go down a line, or forward in the history."""
        if self.cursor_at_last_line and not select:
            self.post_message(self.HistoryRequested(1))
        else:
            super().action_cursor_down(select)


class Composer(Vertical):
    """Type, data and what is wrong with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Without priority: it must not overtake the letters that were typed before it.
        Binding("ctrl+j", "send", "Send", id="composer.send"),
        Binding("f8", "next_form", "Send as…", id="composer.form", tooltip="Send as text, frame, hex, base64 or file"),
        Binding("escape", "screen.to_stream", "To the stream", show=False, id="composer.back"),
    ]
    DEFAULT_CSS = """
    Composer { height: auto; background: $surface; border-top: solid $primary 40%; }
    Composer Horizontal { height: 1; }
    Composer #type { width: 24; height: 1; border: none; padding: 0 1; }
    Composer #check { width: 1fr; height: 1; padding: 0 1; color: $text-muted; }
    Composer #check.-bad { color: $text-error; }
    Composer DataArea { height: auto; min-height: 2; max-height: 10; border: none; padding: 0 1; }
    """

    class Submitted(Message):
        """Somebody wants to send this."""

        def __init__(self, draft: Draft) -> None:
            self.draft = draft
            super().__init__()

    def __init__(
        self,
        history: History,
        seen: Callable[[], Iterable[str]],
        adapter: Callable[[], Adapter | None],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._history = history
        self._seen = seen
        self._adapter = adapter
        self._bare_type = BARE_TYPE
        self._form = Form.AUTO
        self._room = ""

    def compose(self) -> ComposeResult:
        """Yield the fields, made here and not before: a text area needs a screen that is shown."""
        self._type = Input(
            "message",
            placeholder="type",
            id="type",
            suggester=TypeSuggester(self._types),
            select_on_focus=False,
            compact=True,
        )
        self._data = DataArea(id="data", compact=True, highlight_cursor_line=False, placeholder="text or JSON")
        self._check = Static(markup=False, id="check")
        with Horizontal():
            yield self._type
            yield self._check
        yield self._data

    def on_mount(self) -> None:
        """Say how to send."""
        self._check_draft()

    @property
    def draft(self) -> Draft:
        """What is written now."""
        return Draft(self._type.value.strip() or self._bare_type, self._data.text, self._form, self._room)

    @draft.setter
    def draft(self, draft: Draft) -> None:
        self._type.value = draft.type or self._type.value
        self._form, self._room = draft.form, draft.room
        self._data.load_text(draft.text)
        self._data.move_cursor(self._data.document.end)

    def suit(self, adapter: Adapter | None) -> None:
        """Be what a server of this protocol needs; one that takes lines as they are needs no type."""
        if adapter is None:
            return
        if self._type.value == self._bare_type:
            self._type.value = bare_type(adapter)
        self._bare_type = bare_type(adapter)
        self._type.display = adapter.has_typed_lines
        self._check_draft()

    def focus_data(self) -> None:
        """Put the cursor into the data."""
        self._data.focus()

    def action_send(self) -> None:
        """Ask for it to be sent, unless something is wrong with it."""
        draft = self.draft
        problem = problem_of(draft, self._adapter())
        if problem is None:
            self.post_message(self.Submitted(draft))
        else:
            self._show(problem, is_bad=True)
            self.app.bell()

    def action_next_form(self) -> None:
        """Send it as something else."""
        forms = list(Form)
        self._form = forms[(forms.index(self._form) + 1) % len(forms)]
        self._check_draft()

    def next_room(self, rooms: Sequence[str]) -> None:
        """Send it to the next of these rooms; behind the last one comes the session."""
        places = ["", *rooms]
        at = places.index(self._room) if self._room in places else 0
        self._room = places[(at + 1) % len(places)]
        self._check_draft()

    def sent(self, draft: Draft) -> None:
        """Remember what was sent and make room for the next, unless that is being written already."""
        self._history.add(draft)
        if self.draft == draft:
            self._data.load_text("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on from the type to the data."""
        event.stop()
        self._data.focus()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Check it."""
        self._check_draft()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check the type."""
        event.stop()
        self._check_draft()

    def on_data_area_history_requested(self, event: DataArea.HistoryRequested) -> None:
        """Show another draft."""
        event.stop()
        draft = self._history.move(event.step)
        if draft is not None:
            self.draft = draft

    def _types(self) -> Iterable[str]:
        adapter = self._adapter()
        is_ours = adapter is None or adapter.name == ProtocolName.WSCTL
        return (*CLIENT_TYPES, *self._seen()) if is_ours else self._seen()

    def _check_draft(self) -> None:
        draft = self.draft
        adapter = self._adapter()
        problem = problem_of(draft, adapter) if draft.text.strip() else None
        self._show(describe(draft, adapter) if problem is None else problem, is_bad=problem is not None)

    def _show(self, words: str, *, is_bad: bool) -> None:
        self._check.set_class(is_bad, "-bad")
        self._check.update(Content(neutralise(words)))

"""Where a message is written: its type with completion, its data checked as JSON while it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static, TextArea

from wsclient.tui.model.history import Draft, History
from wscore.messages import CLIENT_TYPES
from wscore.text import neutralise


class TypeSuggester(Suggester):
    """Completes message types: the known ones and those that were seen."""

    def __init__(self, seen: Callable[[], Iterable[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._seen = seen

    async def get_suggestion(self, value: str) -> str | None:
        """Return the first type that begins with what was typed."""
        if not value:
            return None
        return next((name for name in (*CLIENT_TYPES, *self._seen()) if name.startswith(value)), None)


class DataArea(TextArea):
    """The text; up on the first line and down on the last go through the history."""

    HELP = """
## Composer

The data of the message. JSON is checked as you type; anything else is sent as text. A whole envelope (an object with
a `type`) is sent as it is. `{{uuid}}`, `{{now}}` and `{{last.data.x}}` are filled in when it is sent.

`ctrl+j` sends, up and down go through the history, `ctrl+r` searches it.
"""

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

    def __init__(self, history: History, seen: Callable[[], Iterable[str]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history = history
        self._seen = seen

    def compose(self) -> ComposeResult:
        """Yield the fields, made here and not before: a text area needs a screen that is shown."""
        self._type = Input(
            "message",
            placeholder="type",
            id="type",
            suggester=TypeSuggester(self._seen),
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
        self._check_data()

    @property
    def draft(self) -> Draft:
        """What is written now."""
        return Draft(self._type.value.strip() or "message", self._data.text)

    @draft.setter
    def draft(self, draft: Draft) -> None:
        self._type.value = draft.type or self._type.value
        self._data.load_text(draft.text)
        self._data.move_cursor(self._data.document.end)

    def focus_data(self) -> None:
        """Put the cursor into the data."""
        self._data.focus()

    def action_send(self) -> None:
        """Ask for it to be sent."""
        if self._check.has_class("-bad"):
            self.app.bell()
            return
        self.post_message(self.Submitted(self.draft))

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
        """Check the JSON."""
        self._check_data()

    def on_data_area_history_requested(self, event: DataArea.HistoryRequested) -> None:
        """Show another draft."""
        event.stop()
        draft = self._history.move(event.step)
        if draft is not None:
            self.draft = draft

    def _check_data(self) -> None:
        problem = json_problem(self._data.text)
        self._check.set_class(problem is not None, "-bad")
        text = self._data.text
        good = "JSON" if text.lstrip()[:1] in ("{", "[") and text.strip() else "text" if text else "ctrl+j sends"
        self._check.update(Content(neutralise(problem or good)))


def json_problem(text: str) -> str | None:
    """Return what is wrong with text that means to be JSON, with the place, or None; templates pass."""
    start = text.lstrip()[:1]
    if start not in ("{", "[") or "{{" in text:
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        return str(error) or "nested too deeply"
    return None

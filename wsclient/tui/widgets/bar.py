"""One line of input at the bottom that the filter, the search and others share, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from wscore.text import neutralise


class Bar(Vertical):
    """Asks for a line: `ask(label, value, answer)`. `answer` returns what is wrong with it, or None if all is well."""

    HELP = "`enter` takes the line, `escape` leaves it."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", id="bar.leave")]
    DEFAULT_CSS = """
    Bar { height: auto; display: none; background: $panel; }
    Bar Horizontal { height: 1; }
    Bar.-asking { display: block; }
    Bar #bar-label { width: auto; padding: 0 1; color: $text-accent; }
    Bar Input { width: 1fr; height: 1; border: none; padding: 0; }
    Bar #bar-problem { height: auto; padding: 0 1; color: $text-error; }
    """

    class Left(Message):
        """The question is answered or dropped."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = Static(markup=False, id="bar-label")
        self._input = Input(compact=True, id="bar-input", select_on_focus=False)
        self._problem = Static(markup=False, id="bar-problem")
        self._answer: Callable[[str], str | None] | None = None

    def on_mount(self) -> None:
        """Take label, field and complaint in once the screen is to be seen, which is sooner without them."""
        self.call_after_refresh(self._fill)

    def ask(self, label: str, value: str, answer: Callable[[str], str | None]) -> None:
        """Show the line and wait for enter."""
        self._fill()
        self._answer = answer
        self._label.update(Content(label))
        self._complain("")
        self._input.value = value
        self.add_class("-asking")
        self._input.focus()
        self._input.action_end()

    def action_leave(self) -> None:
        """Forget the question."""
        self.remove_class("-asking")
        self.post_message(self.Left())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the line over; a complaint keeps it open."""
        event.stop()
        assert self._answer is not None
        problem = self._answer(event.value)
        if problem is None:
            self.action_leave()
        else:
            self._complain(problem)

    def _fill(self) -> None:
        if not self.children:
            self.mount(Horizontal(self._label, self._input), self._problem)

    def _complain(self, problem: str) -> None:
        self._problem.update(Content(neutralise(problem)))
        self._problem.display = bool(problem)

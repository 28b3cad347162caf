"""Questions to all processes that are in a room: how many those are is known only once they were asked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

ANSWER_S: Final = 2.0  # who lives has answered by then


class _Question:
    """One that is open: how many are to answer, None as long as that is not known, and how many did."""

    __slots__ = ("answers", "done", "expected", "users")

    def __init__(self, done: Callable[[set[str] | None], None]) -> None:
        self.done = done
        self.expected: int | None = None
        self.answers = 0
        self.users: set[str] = set()


class Questions:
    """Those that are open, by number; a question ends with its last answer, at the latest after 2 s."""

    __slots__ = ("_call_later", "_numbers", "_open")

    def __init__(self, call_later: Callable[..., Any]) -> None:
        self._call_later = call_later
        self._numbers = count(1)
        self._open: dict[int, _Question] = {}

    def ask(
        self, put: Callable[[int, Callable[[int], None]], bool], done: Callable[[set[str] | None], None]
    ) -> int | None:
        """Ask: `put` does it, with the question's number, and has to tell how many hear it; None if that fails.

        `done` is called later with the users who were named, None if nobody knows how many were to answer.
        """
        number = next(self._numbers)
        self._open[number] = _Question(done)
        if not put(number, lambda expected: self._heard(number, expected)):
            del self._open[number]
            return None
        self._call_later(ANSWER_S, self._end, number)
        return number

    def answered(self, number: int, users: list[str] | None) -> None:
        """Take the answer of one process."""
        question = self._open.get(number)
        if question is None:
            return
        question.answers += 1
        question.users.update(users or ())
        self._look(number, question)

    def _heard(self, number: int, expected: int) -> None:
        question = self._open.get(number)
        if question is not None:
            question.expected = expected
            self._look(number, question)

    def _look(self, number: int, question: _Question) -> None:
        if question.expected is not None and question.answers >= question.expected:
            self._end(number)

    def _end(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.done(None if question.expected is None else question.users)

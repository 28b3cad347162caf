"""What a script waits for: types, a filter, a number of lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wsclient.filters import MessageFilter
from wsclient.recording import Record
from wscore.envelope import Envelope
from wscore.errors import WsctlError

_ANY_ERROR: Final = Record(0, False, '{"type":"error"}', Envelope("error", 0))


class UnmetError(WsctlError):
    """The script ended before everything it waited for had come; `missing` says what did not."""

    def __init__(self, missing: str, why: str) -> None:
        super().__init__(missing, why)
        self.missing = missing
        self.why = why

    def __str__(self) -> str:
        return f"{self.missing} did not come: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Every type in `expect`, a message that `until` matches, and `count` lines."""

    expect: frozenset[str] = frozenset()
    until: MessageFilter | None = None
    count: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is waited for."""
        return bool(self.expect) or self.until is not None or self.count is not None

    @property
    def wants_errors(self) -> bool:
        """Whether an error is what is waited for, whichever it is."""
        return self.wants(_ANY_ERROR)

    def wants(self, record: Record) -> bool:
        """Tell whether a message of this type, or this very message, is waited for."""
        expected = record.envelope is not None and record.envelope.type in self.expect
        return expected or (self.until is not None and self.until.matches(record))


NO_GOAL: Final = Goal()


class Progress:
    """How much of a goal is reached."""

    __slots__ = ("_goal", "_missing", "_printed", "_until_met")

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._missing = set(goal.expect)
        self._until_met = goal.until is None
        self._printed = 0

    def printed(self, record: Record) -> None:
        """Count a message that was printed."""
        self._printed += 1
        if record.envelope is not None:
            self._missing.discard(record.envelope.type)
        if self._goal.until is not None and self._goal.until.matches(record):
            self._until_met = True

    @property
    def is_reached(self) -> bool:
        """Whether there is a goal, and nothing of it is missing."""
        return bool(self._goal) and self._until_met and not self._missing and self._printed >= (self._goal.count or 0)

    @property
    def missing(self) -> str:
        """What did not come yet."""
        if self._missing:
            return " and ".join(sorted(self._missing))
        if not self._until_met:
            return f"a message that matches {self._goal.until}"
        return f"{self._goal.count} messages ({self._printed} did)"

"""What a script waits for: types, a filter, a number of lines."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from wsclient.filters import MessageFilter
from wsclient.recording import Record
from wscore.envelope import Envelope
from wscore.errors import WsctlError
from wscore.foreign.values import key_of
from wscore.text import neutralise

_MOST_TYPES: Final = 8
_SHOWN: Final = 40  # characters of a type
_ANY_ERROR: Final = Record(0, False, '{"type":"error"}', Envelope("error", 0))


class UnmetError(WsctlError):
    """The script ended before everything it waited for had come; `missing` says what did not, `came` what did."""

    def __init__(self, missing: str, why: str, came: str = "") -> None:
        super().__init__(missing, why, came)
        self.missing = missing
        self.why = why
        self.came = came

    def __str__(self) -> str:
        return f"{self.missing} did not come: {self.why}" + (f"; {self.came}" if self.came else "")


class Goal(Struct, frozen=True, kw_only=True):
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

    __slots__ = ("_elsewhere", "_goal", "_missing", "_printed", "_types", "_until_met")

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._missing = set(goal.expect)
        self._types: dict[str, None] = {}  # that came while one is missing, "" for what has none
        self._elsewhere = ""  # the member that holds a missing one, where that was not taken for the type
        self._until_met = goal.until is None
        self._printed = 0

    def printed(self, record: Record) -> None:
        """Count a message that was printed."""
        self._printed += 1
        if self._missing:
            name = "" if record.envelope is None else record.envelope.type
            if name in self._missing:
                self._missing.discard(name)
            elif not self._elsewhere:
                self._elsewhere = key_of(record.text, self._missing)
            if len(self._types) < _MOST_TYPES:
                self._types[name[:_SHOWN]] = None
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

    @property
    def came(self) -> str:
        """What came in place of a type that did not, nothing if no type is missing or nothing came."""
        if not self._missing or not self._types:
            return ""
        names = [repr(neutralise(name)) for name in self._types if name]
        typed = f"the types that came are {', '.join(names)}" if names else ""
        if self._elsewhere:
            bare = f"it came as the member {neutralise(self._elsewhere)!r}: --type-key {neutralise(self._elsewhere)}"
        else:
            bare = "what has no type is for --until" if "" in self._types else ""
        return ", and ".join(filter(None, (typed, bare)))

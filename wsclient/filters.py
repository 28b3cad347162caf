"""Which messages to show: a line of terms, all of which must hold, such as `type:chat.* -type:ping /regex/`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from wsclient.recording import Record
from wscore.errors import ConfigError

MAX_SEARCHED_CHARS: Final = 64 << 10  # of each message: an expression must not stop the client for long

Test = Callable[[Record], bool]

_TERM = re.compile(r"\s*(?P<not>[-!]?)(?:/(?P<regex>(?:\\.|[^/\\])*)/(?P<flags>[a-z]*)|(?P<word>\S+))(?=\s|$)")


class FilterError(ConfigError):
    """A filter that cannot be read; `setting` is where, `mend` what to write."""


class MessageFilter(Struct, frozen=True):
    """A parsed filter; its text gives the same filter again."""

    text: str
    _tests: tuple[Test, ...] = ()
    _marks: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> MessageFilter:
        """Read `type:a,b*`, `dir:in|out`, `session:prefix`, `errors`, `/regex/` (`/regex/i`), and words.

        `-` or `!` before a term negates it; a word is looked for in the text of the message, whatever its case.
        Raises FilterError with the column.
        """
        tests: list[Test] = []
        marks: list[re.Pattern[str]] = []
        position = 0
        while text[position:].strip():
            match = _TERM.match(text, position)
            if match is None:
                column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
                raise FilterError(f"filter, column {column}", "the /regex/ has no end", "write \\/ for a slash in it")
            test, mark = _test(match)
            if mark is not None and not match["not"]:
                marks.append(mark)
            tests.append(_negated(test) if match["not"] else test)
            position = match.end()
        return cls(text.strip(), tuple(tests), tuple(marks))

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return not self._tests

    def matches(self, record: Record) -> bool:
        """Tell whether a message passes every term."""
        return all(test(record) for test in self._tests)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where in a text, from and to, the words and expressions stand that are looked for, in order."""
        found = {match.span() for mark in self._marks for match in mark.finditer(text[:MAX_SEARCHED_CHARS])}
        return sorted(span for span in found if span[0] < span[1])

    def __str__(self) -> str:
        return self.text


EVERYTHING: Final = MessageFilter("")


def _test(match: re.Match[str]) -> tuple[Test, re.Pattern[str] | None]:
    column = f"filter, column {match.start() + 1 + len(match[0]) - len(match[0].lstrip())}"
    if match["regex"] is not None:
        compiled = _regex(match["regex"], match["flags"], column)
        return lambda record: compiled.search(record.text[:MAX_SEARCHED_CHARS]) is not None, compiled
    word: str = match["word"]
    name, separator, value = word.partition(":")
    if separator and name in _FIELDS:
        if not value:
            raise FilterError(column, f"{name}: asks for nothing", f"write {_FIELDS[name][1]}")
        return _FIELDS[name][0](value, column), None
    if word == "errors":
        return lambda record: record.envelope is not None and record.envelope.type == "error", None
    if word.startswith("/"):
        raise FilterError(column, "the /regex/ has no end", "write \\/ for a slash in it")
    wanted = word.casefold()
    mark = re.compile(re.escape(word), re.IGNORECASE)
    return lambda record: wanted in record.text[:MAX_SEARCHED_CHARS].casefold(), mark


def _regex(pattern: str, flags: str, column: str) -> re.Pattern[str]:
    if flags.strip("i"):
        raise FilterError(column, f"the flags {flags!r} are not known", "i ignores case")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a future Python may read otherwise: not on somebody's screen
            return re.compile(pattern.replace("\\/", "/"), re.IGNORECASE if flags else 0)
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        raise FilterError(column, f"the /regex/ is broken: {error}") from None


def _type(value: str, column: str) -> Test:
    patterns = value.split(",")
    return lambda record: (
        record.envelope is not None and any(fnmatchcase(record.envelope.type, pattern) for pattern in patterns)
    )


def _direction(value: str, column: str) -> Test:
    if value not in ("in", "out"):
        raise FilterError(column, f"there is no direction {value!r}", "write dir:in or dir:out")
    return lambda record: record.is_sent is (value == "out")


def _session(value: str, column: str) -> Test:
    return lambda record: record.envelope is not None and (record.envelope.session_id or "").startswith(value)


def _negated(test: Test) -> Test:
    return lambda record: not test(record)


_FIELDS: Final[dict[str, tuple[Callable[[str, str], Test], str]]] = {
    "type": (_type, "type:message or type:chat.*"),
    "dir": (_direction, "dir:in or dir:out"),
    "session": (_session, "the start of a session id"),
}

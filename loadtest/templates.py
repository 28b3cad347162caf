"""Messages with variables: `{"type":"say","text":"{{stamp}}"}`. Read once a run, filled in once a message. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from wscore.envelope import InvalidMessageError
from wscore.errors import ConfigError
from wscore.foreign import Adapter, Frame, ProtocolName

# What is filled in beside the columns of the data.
VARIABLES: Final = ("id", "number", "stamp", "connection", "session", "run", "timestamp", "uuid", "pad")
_PLACE: Final = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
# A place is a number of 15 digits while the protocol looks at the message: that is valid inside of strings and outside.
_FIRST_MARK: Final = 730_182_645_900_000


class Template:
    """One message: pieces of bytes, and between them the names of what is filled in."""

    __slots__ = ("is_text", "names", "pieces")

    def __init__(self, frame: Frame, marks: Mapping[str, str]) -> None:
        self.is_text = isinstance(frame, str)
        text = frame if isinstance(frame, str) else frame.decode("latin-1")
        places = re.compile("|".join([_PLACE.pattern, *(f"({mark})" for mark in marks)]))
        self.pieces: list[bytes] = []
        self.names: list[str] = []
        end = 0
        for match in places.finditer(text):
            self.pieces.append(self._encoded(text[end : match.start()]))
            self.names.append(match[1] or marks[match[0]])
            end = match.end()
        self.pieces.append(self._encoded(text[end:]))

    def _encoded(self, text: str) -> bytes:
        return text.encode() if self.is_text else text.encode("latin-1")

    def fill(self, value: Callable[[str], str]) -> bytes:
        """Return the message with the values in their places, in the form in which they stand there."""
        pieces = self.pieces
        filled = [pieces[0]]
        for name, piece in zip(self.names, pieces[1:], strict=True):
            filled += (value(name).encode(), piece)
        return b"".join(filled)


def read_template(line: str, adapter: Adapter, option: str, columns: Collection[str] = ()) -> Template:
    """Return the template of a line, put into the protocol's form; raises ConfigError."""
    marks: dict[str, str] = {}

    def mark(name: str) -> str:
        digits = str(_FIRST_MARK + len(marks))
        marks[digits] = name
        return digits

    try:
        frame = adapter.compose(_PLACE.sub(lambda place: mark(place[1]), line), "", lambda: mark("id"))
    except InvalidMessageError as error:
        raise ConfigError(option, str(error), "see `wsctl explain` for the form of a message") from None
    return _checked(Template(frame, marks), option, columns)


def frame_template(frame: Frame, option: str, columns: Collection[str] = ()) -> Template:
    """Return the template of what is sent as it is; raises ConfigError."""
    return _checked(Template(frame, {}), option, columns)


def _checked(template: Template, option: str, columns: Collection[str]) -> Template:
    known = (*VARIABLES, *columns)
    for name in template.names:
        if name not in known:
            raise ConfigError(option, f"there is no variable {name!r}", f"there are {', '.join(known)}")
    return template


def escaping(name: ProtocolName) -> Callable[[str], str]:
    """Return what makes a value fit to stand in a message: within a JSON string, but for raw text."""
    if name is ProtocolName.RAW:
        return lambda text: text
    return lambda text: msgspec.json.encode(text)[1:-1].decode()

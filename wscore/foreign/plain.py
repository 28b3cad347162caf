"""Frames as they are, and plain JSON of any server: which members hold type, id and data is a setting, or guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from wscore.envelope import NO_DATA, Envelope, InvalidMessageError
from wscore.foreign.adapter import BINARY_TYPE, UNREADABLE, Adapter, Frame, Kind, Reading
from wscore.foreign.binary import decoded
from wscore.foreign.values import Members, found, members_of, present, raw_of, text_of, typed, word_of

TYPE_KEYS: Final = ("type", "event", "op", "method", "action", "kind", "cmd", "command")
ID_KEYS: Final = ("id", "requestId", "request_id", "ref", "correlationId")
DATA_KEYS: Final = ("data", "payload", "params", "body", "args", "result", "d")

_BINARY: Final = Envelope(BINARY_TYPE, 0)


class JsonKeys(msgspec.Struct, frozen=True):
    """The member that holds each part, a path with dots; the first one of several that is there counts."""

    type: tuple[str, ...] = TYPE_KEYS
    id: tuple[str, ...] = ID_KEYS
    data: tuple[str, ...] = DATA_KEYS

    def read(self, members: Members, whole: msgspec.Raw) -> Envelope:
        """Return the message in an object; one without a type has an empty one, one without data is all data."""
        type_name = self._word(members, self.type) or ""
        data = next((raw for path in self.data if (raw := _at(members, path)) is not None), whole)
        session = word_of(members.get("sessionId"))
        return Envelope(type_name, 0, session, data, self._word(members, self.id))

    def write(self, type: str, data: object, id: str | None) -> str:
        """Return the object of a message."""
        content: dict[str, object] = {}
        for path, value in ((self.type[0], type), (self.id[0], id), (self.data[0], data)):
            if value is not None and present(value):
                _put(content, path.split("."), value)
        return text_of(content)

    @staticmethod
    def _word(members: Members, paths: tuple[str, ...]) -> str | None:
        for path in paths:
            raw = _at(members, path)
            if raw is not None and (word := word_of(raw)) is not None:
                return word
        return None


def _at(members: Members, path: str) -> msgspec.Raw | None:
    return found(members, path.split(".")) if "." in path else members.get(path)


def _put(content: dict[str, object], path: list[str], value: object) -> None:
    for name in path[:-1]:
        inner = content.setdefault(name, {})
        assert isinstance(inner, dict)
        content = inner
    content[path[-1]] = value


GUESSED: Final = JsonKeys()


def read_json(frame: Frame, keys: JsonKeys = GUESSED) -> Reading:
    """Read an object, also one in MessagePack or CBOR; other JSON and other bytes are a message without a type."""
    if isinstance(frame, bytes):
        value = decoded(frame)
        if value is None:
            return Reading(Kind.MESSAGE, _BINARY)
        name, text = value
        message = _message(text, keys)
        return Reading(Kind.MESSAGE, message if message.type else Envelope(name, 0, None, message.data, message.id))
    try:
        message = _message(frame.encode(), keys)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return UNREADABLE
    return Reading(Kind.MESSAGE if message.id is None else Kind.REPLY, message)


def _message(text: bytes, keys: JsonKeys) -> Envelope:
    whole = msgspec.Raw(text)
    members = members_of(text)
    if members is not None:
        return keys.read(members, whole)
    msgspec.json.decode(text)
    return Envelope("", 0, None, whole)


def read_raw(frame: Frame) -> Reading:
    """Read nothing out of a text, only that a binary frame is one."""
    return UNREADABLE if isinstance(frame, str) else Reading(Kind.MESSAGE, _BINARY)


def as_it_is(line: str, type: str, new_id: Callable[[], str]) -> Frame:
    """Return a line as its frame."""
    return line


def wrap_raw(type: str, data: object, id: str | None) -> Frame:
    """Return data as a frame: text as it is, bytes as a binary one, any other value as JSON; there is no type or id."""
    if isinstance(data, str | bytes):
        return data
    raw = raw_of(data)
    return "" if raw is NO_DATA else bytes(raw).decode()


RAW: Final = Adapter(
    name="raw",
    read=read_raw,
    wrap=wrap_raw,
    compose=as_it_is,
    bare_type="",
    has_typed_lines=False,
    pairs_by_id=False,
)


def json_adapter(keys: JsonKeys = GUESSED) -> Adapter:
    """Return the adapter of a server that speaks JSON objects: what is typed goes as it is."""
    return Adapter(
        name="json",
        read=lambda frame: read_json(frame, keys),
        wrap=keys.write,
        compose=as_it_is,
        bare_type="",
        has_typed_lines=False,
    )


def wrapping_json_adapter(keys: JsonKeys) -> Adapter:
    """Return one whose members were named, so that a line with a type can be put into them; JSON goes as it is."""

    def compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
        if members_of(line) is not None or not type:
            return line
        try:
            said = typed(line, type)
        except InvalidMessageError:
            return line
        return keys.write(said.type, said.data, said.id)

    return Adapter(
        name="json", read=lambda frame: read_json(frame, keys), wrap=keys.write, compose=compose, bare_type=""
    )

"""JSON of any shape, read in part: members stay raw until somebody asks, and numbers stay as they came."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from wscore.envelope import NO_DATA, InvalidMessageError

Members = dict[str, msgspec.Raw]

_members: Final = msgspec.json.Decoder(Members)
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_any: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()


def members_of(text: str | bytes | msgspec.Raw) -> Members | None:
    """Return the members of a JSON object, None for anything else."""
    try:
        return _members.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def items_of(text: str | bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the items of a JSON list, None for anything else."""
    try:
        return _items.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def is_json(text: str | bytes | msgspec.Raw) -> bool:
    """Tell whether a text is JSON."""
    try:
        _any.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def word_of(raw: msgspec.Raw | None) -> str | None:
    """Return a JSON string, or a whole number as its digits; None for anything else."""
    if raw is None:
        return None
    text = bytes(raw)
    if text[:1] == b'"':
        try:
            value: str = _any.decode(text)
        except msgspec.DecodeError:  # a lone surrogate
            return None
        return value
    return text.decode() if text.removeprefix(b"-").isdigit() else None


def found(members: Members, path: Sequence[str]) -> msgspec.Raw | None:
    """Return what stands at a path of names below an object, None if nothing does."""
    raw: msgspec.Raw | None = members.get(path[0])
    for name in path[1:]:
        inner = None if raw is None else members_of(raw)
        raw = None if inner is None else inner.get(name)
    return raw


def key_of(text: str | bytes, words: Collection[str]) -> str:
    """Return the first member of an object that holds one of some words, empty if there is none."""
    members = members_of(text) or {}
    return next((key for key, raw in members.items() if word_of(raw) in words), "")


def encoded(value: object) -> bytes:
    """Return a value as compact JSON; raises InvalidMessageError for what JSON cannot hold."""
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, RecursionError, ValueError, TypeError):
        raise InvalidMessageError("it holds what JSON cannot") from None


def text_of(value: object) -> str:
    """Return a value as compact JSON text; raises InvalidMessageError."""
    return encoded(value).decode()


def raw_of(value: object) -> msgspec.Raw:
    """Return a value as a raw slice, none for UNSET; raises InvalidMessageError."""
    return (
        NO_DATA if value is msgspec.UNSET else value if isinstance(value, msgspec.Raw) else msgspec.Raw(encoded(value))
    )


def present(value: object) -> bool:
    """Tell whether there is any data."""
    return not (value is msgspec.UNSET or (isinstance(value, msgspec.Raw) and not bytes(value)))


class Typed(msgspec.Struct):
    """A line that somebody typed, in the form that every protocol takes: `{"type": ..., "data": ..., "id": ...}`."""

    type: str
    data: msgspec.Raw
    id: str | None = None


def typed(line: str, bare_type: str) -> Typed:
    """Return what a line says: an object with a `type`, its `data` and its `id`; else it is the data of `bare_type`.

    What is no JSON is the data as a string. Raises InvalidMessageError for what begins like an object and is no JSON.
    """
    members = members_of(line)
    type_name = None if members is None else word_of(members.get("type"))
    if members is not None and type_name is not None and members.keys() <= {"type", "data", "id", "timestamp"}:
        return Typed(type_name, members.get("data", NO_DATA), word_of(members.get("id")))
    if is_json(line):
        return Typed(bare_type, msgspec.Raw(line.strip().encode()))
    if line.lstrip().startswith("{"):
        raise InvalidMessageError("it begins like a JSON object and is none")
    return Typed(bare_type, raw_of(line))


def with_member(text: str, name: str, value: str) -> str:
    """Return a JSON object with another value of a member that it has, given as JSON; the others stay as they are."""
    members = members_of(text)
    if members is None or name not in members:
        return text
    return text_of({**members, name: msgspec.Raw(value.encode())})


def plain(raw: msgspec.Raw) -> Any:
    """Return the value of valid JSON, None for absent data."""
    return _any.decode(raw) if bytes(raw) else None

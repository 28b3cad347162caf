"""Misspelt names of fields: unknown ones are ignored, so what was meant for a known one would be lost unsaid."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

import msgspec
import msgspec.inspect

_SIMILARITY: Final = 0.85  # one wrong letter in eight
_MIN_LENGTH: Final = 5  # shorter names are similar by chance
_MAX_LENGTH: Final = 64
_MAX_UNKNOWN: Final = 16  # looked at in one object: comparing takes time
_OBJECTS: Final = (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType)

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class FieldNames:
    """The names on the wire that one type of object has."""

    __slots__ = ("_by_letters", "_names")

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._by_letters = {_letters(name): name for name in sorted(names)}

    @classmethod
    def of(cls, data_type: Any) -> FieldNames | None:
        """Return those of a type that is an object, or an object or null; None for any other."""
        info = msgspec.inspect.type_info(data_type)
        members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
        objects = [member for member in members if not isinstance(member, msgspec.inspect.NoneType)]
        if len(objects) != 1 or not isinstance(objects[0], _OBJECTS):
            return None
        return cls(frozenset(field.encode_name for field in objects[0].fields))

    def misspelt(self, raw: msgspec.Raw) -> str | None:
        """Say which field of a JSON object has nearly the name of one that is missing there, None if none has."""
        if bytes(memoryview(raw)[:1]) != b"{":
            return None
        try:
            found = _decoder.decode(raw).keys()
        except (msgspec.DecodeError, RecursionError):
            return None  # it fails as what it should be, too, and that error names the place
        if found <= self._names:
            return None
        for name in [name for name in found if name not in self._names][:_MAX_UNKNOWN]:
            if (meant := self._nearest(name)) is not None and meant not in found:
                return f"Object contains unknown field `{name}`, is `{meant}` meant?"
        return None

    def _nearest(self, name: str) -> str | None:
        if len(name) > _MAX_LENGTH:
            return None
        letters = _letters(name)
        if letters not in self._by_letters:
            close = get_close_matches(letters, self._by_letters, 1, _SIMILARITY) if len(letters) >= _MIN_LENGTH else []
            if not close:
                return None
            letters = close[0]
        return self._by_letters[letters]


def _letters(name: str) -> str:
    return re.sub("[_ .-]", "", name).lower()

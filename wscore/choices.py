"""Which values a place in data may have: msgspec names the one that is none of them alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import msgspec.inspect

MOST_NAMED: Final = 20
_BAD_CHOICE: Final = re.compile(r"^Invalid enum value .*? - at `\$(?P<path>[^`]*)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")
_ITEMS: Final = ("item_type", "value_type")


def with_choices(problem: str, data_type: Any) -> str:
    """Return what msgspec says of data, with the values that its place may have, where it is about that."""
    found = _BAD_CHOICE.match(f"{problem} - at `$`" if " - at `" not in problem else problem)
    if found is None:
        return problem
    try:
        places = [_type_info(data_type)]
    except TypeError:  # one that cannot be kept, as with a dict in what is noted about it
        places = [msgspec.inspect.type_info(data_type)]
    for step in _STEP.finditer(found["path"]):
        places = [inner for place in places for kind in _kinds(place) for inner in _within(kind, step[1])]
    values = [value for place in places for kind in _kinds(place) for value in _choices(kind)]
    if not 0 < len(values) <= MOST_NAMED:
        return problem
    names = ", ".join(msgspec.json.encode(value).decode() for value in values)
    head, _, place = problem.rpartition(" - at `") if found["path"] or " - at `" in problem else (problem, "", "")
    return f"{head}, must be one of {names}" + (f" - at `{place}" if place else "")


@functools.lru_cache(maxsize=128)
def _type_info(data_type: Any) -> Any:
    """Return what a type is; to find out takes longer than the rest of an answer, and a client may ask for many."""
    return msgspec.inspect.type_info(data_type)


def _kinds(info: Any) -> Iterator[Any]:
    """Yield the kinds of a union, or the one that it is, without what is noted about them."""
    if isinstance(info, msgspec.inspect.Metadata):
        yield from _kinds(info.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for kind in info.types:
            yield from _kinds(kind)
    else:
        yield info


def _within(info: Any, name: str | None) -> Iterator[Any]:
    """Yield what a field of that name holds; without a name, what an item or a value of a dict is."""
    if name is None:
        yield from (getattr(info, items) for items in _ITEMS if hasattr(info, items))
        yield from getattr(info, "item_types", ())
    else:
        yield from (field.type for field in getattr(info, "fields", ()) if field.encode_name == name)


def _choices(info: Any) -> Iterator[Any]:
    if isinstance(info, msgspec.inspect.LiteralType):
        yield from info.values
    elif isinstance(info, msgspec.inspect.EnumType):
        yield from (member.value for member in info.cls)

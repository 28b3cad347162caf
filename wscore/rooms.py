"""Rooms: what they are called, and which of them a token lets its holder into (design section 4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Final

import msgspec

MAX_GRANTS: Final = 64

ROOM_RULE: Final = "a room's name is 1 to 128 of A-Z a-z 0-9 _ . : -"
PATTERN_RULE: Final = "a pattern is a room's name, or the start of one and a * at its end"
_CHARACTERS: Final = "[A-Za-z0-9_.:-]"
_NAME: Final = re.compile(f"{_CHARACTERS}{{1,128}}")
# For data that holds the name of a room. What is not one is refused there, with the place; a `$` alone takes a newline.
NAME_PATTERN: Final = rf"^{_CHARACTERS}{{1,128}}$(?!\n)"
RoomName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_AS_MSGSPEC_SAYS: Final = f"`str` matching regex {NAME_PATTERN!r}"
_PATTERN: Final = re.compile(rf"{_CHARACTERS}{{1,128}}|{_CHARACTERS}{{0,127}}\*")


class RoomAccess(Enum):
    """What a connection may do in a room: nothing, hear what is said there, or speak as well."""

    NONE = "none"
    LISTEN = "listen"
    PUBLISH = "publish"


class RoomGrant(msgspec.Struct, frozen=True):
    """One entry of a token's `rooms` claim: the rooms that match may be joined, and published to or not."""

    pattern: str
    publish: bool = True


def is_room_name(text: object) -> bool:
    """Tell whether a room may be called this."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def is_room_pattern(text: object) -> bool:
    """Tell whether this is the name of a room, or a pattern for names: a `*` at its end stands for any rest."""
    return isinstance(text, str) and _PATTERN.fullmatch(text) is not None


def narrowest(patterns: Iterable[str], room: str) -> str | None:
    """Return which pattern decides about a room, its very name or else the longest that matches; None if none does."""
    best: str | None = None
    for pattern in patterns:
        if pattern == room:
            return pattern
        if pattern.endswith("*") and room.startswith(pattern[:-1]) and (best is None or len(pattern) > len(best)):
            best = pattern
    return best


def granted(grants: Iterable[RoomGrant], room: str) -> RoomAccess:
    """Return what the entries of a claim allow in a room."""
    by_pattern = {grant.pattern: grant for grant in grants}
    pattern = narrowest(by_pattern, room)
    if pattern is None:
        return RoomAccess.NONE
    return RoomAccess.PUBLISH if by_pattern[pattern].publish else RoomAccess.LISTEN


def read_grants(claim: object) -> tuple[RoomGrant, ...]:
    """Read the `rooms` claim: strings, to join and to publish, or `{"pattern", "publish": false}`.

    Raises ValueError, which says what it should be.
    """
    if not isinstance(claim, list) or len(claim) > MAX_GRANTS:
        raise ValueError(f"a list of at most {MAX_GRANTS} patterns")
    return tuple(_grant(entry) for entry in claim)


def _grant(entry: object) -> RoomGrant:
    grant = RoomGrant("")
    if isinstance(entry, str):
        grant = RoomGrant(entry)
    elif isinstance(entry, Mapping) and entry.keys() <= {"pattern", "publish"}:
        grant = RoomGrant(entry.get("pattern", ""), entry.get("publish", True))
    if not is_room_pattern(grant.pattern) or not isinstance(grant.publish, bool):
        raise ValueError('a list of patterns of rooms ("chat.*", the * only at the end) or {"pattern", "publish"}')
    return grant


def in_words(problem: str) -> str:
    """Return what msgspec says of data, with the rule of names in words where it has their pattern."""
    return problem.replace(_AS_MSGSPEC_SAYS, "1 to 128 of `A-Z a-z 0-9 _ . : -`")

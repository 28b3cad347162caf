"""What processes tell each other about who is in a room; each names the process that says it."""

from __future__ import annotations

from typing import Final

import msgspec


class Hello(msgspec.Struct, tag="hello", array_like=True, frozen=True):
    """Somebody is in a room here, or what was told of it may be lost: who watches it had better ask."""

    process: str
    room: str


class WhoIsThere(msgspec.Struct, tag="ask", array_like=True, frozen=True):
    """Who is in a room?

    One that has a `number` is answered by everybody, another by those of whom the asker knows another version than
    theirs. Where it `watches` it wants to be told of changes, for a while.
    """

    process: str
    number: int
    room: str
    watches: bool
    versions: dict[str, int]


class MembersHere(msgspec.Struct, tag="members", array_like=True, frozen=True):
    """The answer: all users who are there, None if the asker knows this version already."""

    process: str
    number: int
    room: str
    version: int
    users: list[str] | None


class Changes(msgspec.Struct, tag="changes", array_like=True, frozen=True):
    """Who came and went between two versions."""

    process: str
    room: str
    previous: int
    version: int
    joined: list[str]
    left: list[str]


class Beat(msgspec.Struct, tag="beat", array_like=True, frozen=True):
    """The process lives; its beats are numbered, since each may come more than once."""

    process: str
    number: int


class Bye(msgspec.Struct, tag="bye", array_like=True, frozen=True):
    """The process ends; of those who were there, by room, some come back elsewhere."""

    process: str
    rooms: dict[str, list[str]]


Note = Hello | WhoIsThere | MembersHere | Changes | Beat | Bye

pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(Note).decode

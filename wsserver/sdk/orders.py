"""What one process of a server asks of the others: to send to a connection of theirs, to close it, to move it."""

from __future__ import annotations

from typing import Final

import msgspec

from wscore.rooms import RoomAccess


class Send(msgspec.Struct, tag="send", array_like=True, frozen=True):
    """Send an envelope to a connection; `error` is the code of one that is an error."""

    connection: str
    payload: bytes
    lossy: bool
    error: str | None


class Ask(msgspec.Struct, tag="ask", array_like=True, frozen=True):
    """Send an envelope to a connection, and its reply back to a process; after `timeout_s` it is not waited for."""

    connection: str
    payload: bytes
    process: str
    timeout_s: float


class Found(msgspec.Struct, tag="found", array_like=True, frozen=True):
    """The connection that a request is for is here, and was asked."""

    request_id: str


class Reply(msgspec.Struct, tag="reply", array_like=True, frozen=True):
    """What a connection has answered; None: it went before that."""

    connection: str
    payload: bytes | None


class CloseOrder(msgspec.Struct, tag="close", array_like=True, frozen=True):
    """Close a connection."""

    connection: str
    code: int
    reason: str


class Kick(msgspec.Struct, tag="kick", array_like=True, frozen=True):
    """Close all connections of a user."""

    user_id: str
    is_guest: bool
    code: int
    reason: str


class Join(msgspec.Struct, tag="join", array_like=True, frozen=True):
    """Put a connection, or all of a user's group, into a room."""

    room: str
    connection: str | None
    user: str | None
    access: RoomAccess


class Leave(msgspec.Struct, tag="leave", array_like=True, frozen=True):
    """Take a connection, or all of a user's group, out of a room."""

    room: str
    connection: str | None
    user: str | None
    reason: str


class Revoke(msgspec.Struct, tag="revoke", array_like=True, frozen=True):
    """Revoke a token, or some, which the store has by now; see RevokedEntry."""

    key: bytes
    issued_before_ms: int
    until_ms: int


Order = Send | Ask | Found | Reply | CloseOrder | Kick | Join | Leave | Revoke

pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(Order).decode

"""What the HTTP API of the operations port answers, as its server writes it and its clients read it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Raw, Struct

Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]  # a number that every reader of JSON has
Next = Annotated[str, Meta(description="The `cursor` of the next page; left out at the last one.")]
Missing = Annotated[
    list[str], Meta(description="Processes that did not answer within a second: the rest is without them.")
]


class ApiErrorCode(StrEnum):
    """Why something is not done."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    TIMED_OUT = "TIMED_OUT"
    CONFLICT = "CONFLICT"
    TOO_LARGE = "TOO_LARGE"
    BUSY = "BUSY"
    NOT_PUBLISHED = "NOT_PUBLISHED"
    NOT_READY = "NOT_READY"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    INTERNAL = "INTERNAL"


class Problem(Struct, frozen=True, omit_defaults=True):
    """What is wrong: a code for programs, a message for people, and the place of it in the request, as `$.room`."""

    code: ApiErrorCode
    message: str
    place: str | None = None


class ErrorBody(Struct, frozen=True):
    """The body of every answer that is an error."""

    error: Problem


class Published(Struct, frozen=True, omit_defaults=True):
    """A message is where it is kept: its place in its group. Both are left out for what takes no place."""

    epoch: str | None = None
    seq: Count | None = None


class TargetResult(Struct, frozen=True, omit_defaults=True):
    """What became of a broadcast at one target: its place there, or an error."""

    session: str | None = None
    room: str | None = None
    user: str | None = None
    epoch: str | None = None
    seq: Count | None = None
    error: Problem | None = None


class BroadcastResult(Struct, frozen=True):
    """What became of it at each target, in their order: sessions, rooms, users."""

    results: list[TargetResult]


class SendResult(Struct, frozen=True):
    """To how many connections it is on its way: 1, or 0 if there is no such connection."""

    sent: Count
    missing: Missing


class DisconnectResult(Struct, frozen=True):
    """How many connections are being closed."""

    disconnected: Count
    missing: Missing


class RevokeResult(Struct, frozen=True, rename="camel"):
    """It is revoked in every process within a second, and kept until then, in ms since the epoch."""

    expires_at_ms: Count


class ActResult(Struct, frozen=True, omit_defaults=True):
    """What became of an act of a batch: what its own route would answer, or an error."""

    publish: Published | None = None
    broadcast: BroadcastResult | None = None
    send: SendResult | None = None
    disconnect: DisconnectResult | None = None
    error: Problem | None = None


class BatchResult(Struct, frozen=True):
    """What became of each act, in their order."""

    results: list[ActResult]


class ConnectionRow(Struct, frozen=True, rename="camel"):
    """A connection: since when (ms since the epoch), and how many bytes wait for it to read; at most 16 rooms."""

    id: str
    user: str
    is_guest: bool
    session: str
    rooms: list[str]
    room_count: Count
    address: str | None
    opened_at: Count
    buffered_bytes: Count
    node: str


class ConnectionsPage(Struct, frozen=True, omit_defaults=True):
    """Connections, the oldest first, and how many there are in all."""

    connections: list[ConnectionRow]
    total: Count
    missing: Missing
    next: Next | None = None


class GroupRow(Struct, frozen=True):
    """A session or a room, and how many connections are in it."""

    name: str
    connections: Count


class SessionsPage(Struct, frozen=True, omit_defaults=True):
    """Sessions that somebody is in, by name."""

    sessions: list[GroupRow]
    missing: Missing
    next: Next | None = None


class RoomsPage(Struct, frozen=True, omit_defaults=True):
    """Rooms that somebody is in, by name."""

    rooms: list[GroupRow]
    missing: Missing
    next: Next | None = None


class PresencePage(Struct, frozen=True, omit_defaults=True):
    """The users with connections in a room, by id, without the lost whom `presence` keeps for 5 s; and how many."""

    users: list[str]
    connections: Count
    missing: Missing
    next: Next | None = None


class HistoryPage(Struct, frozen=True):
    """Messages as they were sent, the oldest first."""

    messages: list[Raw]


class HistoryRemoved(Struct, frozen=True):
    """Nothing is kept any more. Members in other processes are told with the next message, else within 40 s."""

    removed: bool = True

"""What the API is asked in a query string, and what it answers."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from wsserver.operations.acts import Name, Published, Text
from wsserver.operations.problems import ApiError, ApiErrorCode, Problem
from wsserver.operations.queries import ConnectionRow

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100

Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="How many at most.")]
Cursor = Annotated[str, Meta(max_length=512, description="`next` of the page before.")]
Next = Annotated[str, Meta(description="The `cursor` of the next page; left out at the last one.")]
Count = Annotated[int, Meta(ge=0)]
Millis = Annotated[int, Meta(ge=0, description="In ms.")]
Missing = Annotated[
    list[str], Meta(description="Processes that did not answer within a second: the rest is without them.")
]


class Parameters(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What stands in the query string of a request."""


class ConnectionsQuery(Parameters, frozen=True):
    """Which connections: those that all of it holds for."""

    user: Text | None = None
    room: Name | None = None
    session: Name | None = None
    address: Annotated[str, Meta(max_length=64, description="An address or a network, as 10.0.0.0/8.")] | None = None
    min_age: Millis | None = None
    max_age: Millis | None = None
    min_buffered: Annotated[int, Meta(ge=0, description="Bytes that wait for the client to read.")] | None = None
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


class GroupsQuery(Parameters, frozen=True):
    """Which sessions or rooms."""

    prefix: Annotated[str, Meta(max_length=128, description="How their names begin.")] = ""
    order: Annotated[
        Literal["name", "size"], Meta(description="By size the largest come first, and there is one page.")
    ] = "name"
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


class PresenceQuery(Parameters, frozen=True):
    """Of which room."""

    room: Name
    limit: Limit = DEFAULT_PAGE
    cursor: Cursor | None = None


class HistoryTarget(Parameters, frozen=True):
    """Of which session or room: one of the two."""

    session: Name | None = None
    room: Name | None = None


class HistoryQuery(HistoryTarget, frozen=True):
    """Which messages of a session or a room: the last ones, of those whose seq is below `before`."""

    limit: Limit = DEFAULT_PAGE
    before: Annotated[int, Meta(ge=1)] | None = None


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
    """The users in a room, by id, and how many connections they have there in all."""

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


class RevokeResult(Struct, frozen=True, rename="camel"):
    """It is revoked in every process within a second, and kept until then, in ms since the epoch."""

    expires_at_ms: int


class TargetResult(Struct, frozen=True, omit_defaults=True):
    """What became of a broadcast at one target: its place there, or an error."""

    session: str | None = None
    room: str | None = None
    user: str | None = None
    epoch: str | None = None
    seq: int | None = None
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


def cursor_of(place: Any) -> str:
    """Return what names a place in a list to whoever asks for what is behind it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place_of(cursor: str | None, kind: Any, default: Any) -> Any:
    """Return the place that a cursor names; raises ApiError for what is none of ours."""
    if cursor is None:
        return default
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except (ValueError, msgspec.DecodeError):
        raise ApiError(ApiErrorCode.INVALID_REQUEST, "This cursor is none of ours.", "$.cursor") from None

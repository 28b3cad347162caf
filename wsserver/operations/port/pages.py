"""What the API is asked in a query string, and what it answers."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from wscore.operations import ApiErrorCode
from wsserver.operations.acts import Name, Text
from wsserver.operations.problems import ApiError

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100

Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="How many at most.")]
Cursor = Annotated[str, Meta(max_length=512, description="`next` of the page before.")]
Millis = Annotated[int, Meta(ge=0, description="In ms.")]


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

"""What can be asked of the operations port, a function each: its arguments, and what comes back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from wscore.codes import CloseCode
from wscore.operations import (
    BatchResult,
    BroadcastResult,
    ConnectionsPage,
    DisconnectResult,
    HistoryPage,
    HistoryRemoved,
    PresencePage,
    Published,
    RevokeResult,
    RoomsPage,
    SendResult,
    SessionsPage,
)

T = TypeVar("T")

PREFIX: Final = "/api/v1/"
_MESSAGES: Final = msgspec.json.Decoder(dict[str, Any])
_KEY: Final = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """A request; `read` makes an answer of a body, and raises msgspec.DecodeError for what is none."""

    method: str
    path: str
    read: Callable[[bytes], T]
    parameters: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    idempotency_key: str = ""

    @property
    def is_act(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


def publish(
    type: str,
    data: object = UNSET,
    *,
    session: str | None = None,
    room: str | None = None,
    user: str | None = None,
    user_id: str | None = None,
    lossy: bool = False,
    except_connection: str | None = None,
    idempotency_key: str | None = None,
) -> ApiCall[Published]:
    """Publish a message to a session, a room or a user: to one of the three. It is stored when this returns.

    `data` is whatever msgspec makes JSON of; left out, the message has none. `user_id` is who the receivers are told it
    is from. Of a `lossy` one slow readers may get nothing, and it is not kept. Raises OperationsError; TypeError for
    data that is no JSON; ValueError for an `idempotency_key` that is not 1 to 64 visible characters of ASCII, of which
    each act makes one by itself.
    """
    body = {"type": type, "session": session, "room": room, "user": user, "userId": user_id, "lossy": lossy}
    return _act("publish", Published, idempotency_key, {**body, "exceptConnection": except_connection}, data)


def broadcast(
    type: str,
    data: object = UNSET,
    *,
    sessions: Sequence[str] = (),
    rooms: Sequence[str] = (),
    users: Sequence[str] = (),
    user_id: str | None = None,
    lossy: bool = False,
    idempotency_key: str | None = None,
) -> ApiCall[BroadcastResult]:
    """Publish a message to many, at most 1000. What became of it at each is a row: its place there, or an `error`.

    Raises OperationsError if that was not begun, and TypeError for data that is no JSON.
    """
    body = {"type": type, "sessions": sessions, "rooms": rooms, "users": users, "userId": user_id, "lossy": lossy}
    return _act("broadcast", BroadcastResult, idempotency_key, body, data)


def send(
    connection: str,
    type: str,
    data: object = UNSET,
    *,
    id: str | None = None,
    lossy: bool = False,
    idempotency_key: str | None = None,
) -> ApiCall[SendResult]:
    """Send a message to one connection; `sent` is 0 if there is none. Raises OperationsError, and TypeError."""
    body = {"connection": connection, "type": type, "id": id, "lossy": lossy}
    return _act("send", SendResult, idempotency_key, body, data)


def disconnect(
    *,
    connection: str | None = None,
    user: str | None = None,
    session: str | None = None,
    room: str | None = None,
    code: int = int(CloseCode.KICKED),
    reason: str = "",
    idempotency_key: str | None = None,
) -> ApiCall[DisconnectResult]:
    """Close a connection, or all of a user, of a session or of a room; who may come back does. Raises OperationsError.

    The reason, of at most 123 bytes, is told to them. `missing` names processes that did not answer: what is there may
    be closed or not.
    """
    body = {"connection": connection, "user": user, "session": session, "room": room, "code": code, "reason": reason}
    return _act("disconnect", DisconnectResult, idempotency_key, body)


def batch(acts: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> ApiCall[BatchResult]:
    """Do several things in their order, 1 to 1000. What became of each is a row, an `error` where it is not done.

    An act is what its own route of the HTTP API takes, and its name: `{"act": "publish", "type": "news", "room": "a"}`,
    or `broadcast`, `send`, `disconnect`. Raises OperationsError if none was begun, and TypeError for what is no JSON.
    """
    return _act("batch", BatchResult, idempotency_key, {"acts": acts})


def revoke(
    *,
    jti: str | None = None,
    user_id: str | None = None,
    is_guest: bool | None = None,
    issued_before_ms: int | None = None,
    expires_at_ms: int | None = None,
    idempotency_key: str | None = None,
) -> ApiCall[RevokeResult]:
    """Revoke a token, or a user, or what was issued before a time (ms since the epoch), and end its connections.

    Raises OperationsError.
    """
    times = {"issuedBeforeMs": issued_before_ms, "expiresAtMs": expires_at_ms}
    body = {"jti": jti, "userId": user_id, "isGuest": is_guest, **times}
    return _act("tokens/revoke", RevokeResult, idempotency_key, body)


def connections(
    *,
    user: str | None = None,
    room: str | None = None,
    session: str | None = None,
    address: str | None = None,
    min_age: int | None = None,
    max_age: int | None = None,
    min_buffered: int | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> ApiCall[ConnectionsPage]:
    """List the connections for which all of it holds, the oldest first, 1 to 1000 a page; raises OperationsError.

    `address` may be a network, ages are ms, `min_buffered` is bytes that wait for the client; `next` is the cursor.
    """
    parameters = {"user": user, "room": room, "session": session, "address": address, "limit": limit, "cursor": cursor}
    ages = {"minAge": min_age, "maxAge": max_age, "minBuffered": min_buffered}
    return _look("connections", ConnectionsPage, **parameters, **ages)


def sessions(
    *, prefix: str = "", order: Literal["name", "size"] = "name", limit: int = 100, cursor: str | None = None
) -> ApiCall[SessionsPage]:
    """List sessions that somebody is in, 1 to 1000 a page; by size there is one page. Raises OperationsError."""
    return _look("sessions", SessionsPage, prefix=prefix or None, order=order, limit=limit, cursor=cursor)


def rooms(
    *, prefix: str = "", order: Literal["name", "size"] = "name", limit: int = 100, cursor: str | None = None
) -> ApiCall[RoomsPage]:
    """List rooms that somebody is in, 1 to 1000 a page; by size there is one page. Raises OperationsError."""
    return _look("rooms", RoomsPage, prefix=prefix or None, order=order, limit=limit, cursor=cursor)


def presence(room: str, *, limit: int = 100, cursor: str | None = None) -> ApiCall[PresencePage]:
    """List the users in a room, 1 to 1000 a page; raises OperationsError."""
    return _look("presence", PresencePage, room=room, limit=limit, cursor=cursor)


def history(
    *, session: str | None = None, room: str | None = None, limit: int = 100, before: int | None = None
) -> ApiCall[list[dict[str, Any]]]:
    """Return the last messages that a session or a room keeps, the oldest first, 1 to 1000; raises OperationsError.

    With `before` the last ones of those whose `seq` is below it.
    """
    parameters = {"session": session, "room": room, "limit": limit, "before": before}
    return ApiCall("GET", f"{PREFIX}history", _read_messages, _given(parameters))


def remove_history(*, session: str | None = None, room: str | None = None) -> ApiCall[HistoryRemoved]:
    """Have a session or a room keep nothing of what was; raises OperationsError."""
    parameters = _given({"session": session, "room": room})
    return ApiCall("DELETE", f"{PREFIX}history", _reader(HistoryRemoved), parameters)


def metrics() -> ApiCall[str]:
    """Return what the server counts, in Prometheus' text format; raises OperationsError."""
    return ApiCall("GET", "/metrics", bytes.decode)


def _act(
    route: str, answer: type[T], key: str | None, body: dict[str, Any], data: object | UnsetType = UNSET
) -> ApiCall[T]:
    given = {name: value for name, value in body.items() if value is not None}
    if data is not UNSET:
        given["data"] = data
    if key is not None and not _KEY.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 64 visible characters of ASCII")
    try:
        packed = msgspec.json.encode(given)
    except RecursionError:
        raise TypeError("no JSON can be made of it: it is too deep, or has no end") from None
    return ApiCall("POST", PREFIX + route, _reader(answer), {}, packed, key or uuid.uuid4().hex)


def _look(route: str, answer: type[T], **parameters: object) -> ApiCall[T]:
    return ApiCall("GET", PREFIX + route, _reader(answer), _given(parameters))


def _given(parameters: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items() if value is not None}


def _reader(answer: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(answer).decode


def _read_messages(body: bytes) -> list[dict[str, Any]]:
    messages = msgspec.json.decode(body, type=HistoryPage).messages
    return [_MESSAGES.decode(message) for message in messages]

"""The routes of the API, a row each: what is asked, what comes back, and which key it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

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
from wscore.revocations import Revocation
from wsserver.operations.accesskeys import Right
from wsserver.operations.acts import ActBatch, BroadcastMessage, EndConnections, PublishMessage, SendMessage
from wsserver.operations.port.acting import Acting
from wsserver.operations.port.looking import Looking
from wsserver.operations.port.pages import (
    ConnectionsQuery,
    GroupsQuery,
    HistoryQuery,
    HistoryTarget,
    Parameters,
    PresenceQuery,
)

PREFIX: Final = "/api/v1"


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A route: `asks` is the type of the body of a POST, else of the query string.

    `call` answers it: a method of Looking for a GET, else one of Acting, which gets the operator first.
    """

    method: str
    name: str
    summary: str
    asks: type[msgspec.Struct]
    answers: type[msgspec.Struct]
    call: Callable[..., Awaitable[Any]]

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{PREFIX}/{self.name}"

    @property
    def right(self) -> Right:
        """What a key has to be good for."""
        return Right.READ if self.method == "GET" else Right.WRITE

    @property
    def has_body(self) -> bool:
        """Whether what it asks stands in a body."""
        return not issubclass(self.asks, Parameters)


ROWS: Final = (
    ApiRoute(
        "POST", "publish", "Publish a message to a session, a room or a user", PublishMessage, Published, Acting.publish
    ),
    ApiRoute("POST", "broadcast", "Publish a message to many", BroadcastMessage, BroadcastResult, Acting.broadcast),
    ApiRoute("POST", "send", "Send a message to one connection", SendMessage, SendResult, Acting.send),
    ApiRoute("POST", "disconnect", "Close connections", EndConnections, DisconnectResult, Acting.disconnect),
    ApiRoute(
        "POST", "tokens/revoke", "Revoke tokens, and close their connections", Revocation, RevokeResult, Acting.revoke
    ),
    ApiRoute("POST", "batch", "Do several of these in their order", ActBatch, BatchResult, Acting.batch),
    ApiRoute("GET", "connections", "List connections", ConnectionsQuery, ConnectionsPage, Looking.connections),
    ApiRoute("GET", "sessions", "List sessions that somebody is in", GroupsQuery, SessionsPage, Looking.sessions),
    ApiRoute("GET", "rooms", "List rooms that somebody is in", GroupsQuery, RoomsPage, Looking.rooms),
    ApiRoute("GET", "presence", "List the users in a room", PresenceQuery, PresencePage, Looking.presence),
    ApiRoute("GET", "history", "Read what a session or a room keeps", HistoryQuery, HistoryPage, Looking.history),
    ApiRoute("DELETE", "history", "Have it keep nothing of that", HistoryTarget, HistoryRemoved, Acting.remove_history),
)

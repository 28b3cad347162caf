"""From an envelope to what handles it: a table of message types (the seed's MessageRouter and its switch over types).

The rooms of the server and the app register what they handle; the router knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

from wscore.codes import ErrorCode
from wscore.envelope import Envelope
from wscore.messages import MESSAGES
from wscore.rooms import RoomAccess
from wsserver.connections.rooms import Rooms
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.sdk.requests import REQUEST_PREFIX
from wsserver.telemetry.counters import MessageCounter
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Drop, Metrics

# Handles one valid envelope, which came in so many bytes; a failure concerns its sender alone.
Route = Callable[[Connection, Envelope, int], None]


class MessageRouter:
    """Finds the handler of each message."""

    __slots__ = ("_access", "_helps", "_log", "_metrics", "_rooms", "_routes", "_sender")

    def __init__(self, sender: EnvelopeSender, rooms: Rooms, metrics: Metrics, log: EventLog, *, helps: bool) -> None:
        """Build it; one that `helps` those who write clients answers every unknown type, and names a similar one."""
        self._sender = sender
        self._rooms = rooms
        self._metrics = metrics
        self._log = log
        self._helps = helps
        self._access: Final[dict[str, RoomAccess | None]] = {}
        self._routes: Final[dict[str, tuple[Route, MessageCounter]]] = {}

    def register(self, type: str, route: Route, room: RoomAccess | None = None) -> None:
        """Name what handles a message type; there is one for each.

        `room` is what its sender may do in the room that a message is for: publish, unless given.
        """
        assert type not in self._routes, type
        self._routes[type] = route, self._metrics.received.know(type)
        self._access[type] = room

    def route(self, connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
        """Have an envelope handled, unless it is for a room and its sender may not send it there."""
        if envelope.room is not None and (refusal := self._refusal(connection, envelope.type, envelope.room)):
            self._metrics.received[envelope.type].add(frame_bytes)
            self._sender.error(connection, ErrorCode.FORBIDDEN, refusal, id=envelope.id)
            return
        row = self._routes.get(envelope.type)
        if row is None:
            self._unhandled(connection, envelope, frame_bytes)
        else:
            route, received = row
            received.value += 1
            received.octets += frame_bytes
            route(connection, envelope, frame_bytes)

    def _refusal(self, connection: Connection, type: str, room: str) -> str | None:
        queue = connection.handlers
        if queue is not None and queue.is_busy:
            return None  # it is asked again at its turn: a join may wait before it
        return self._rooms.refusal(connection.id, room, self._access.get(type))

    def _unhandled(self, connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
        kind = envelope.type
        self._metrics.received[kind].add(frame_bytes)
        self._metrics.dropped[Drop.NO_HANDLER].value += 1
        self._log.debug("message.unhandled", type=kind, connection=connection.id)
        if envelope.id is not None and envelope.id.startswith(REQUEST_PREFIX):
            return  # a reply that came too late
        # Without an `id` as in the seed: its clients may send what this app does not care for, such as audio.
        if envelope.id is None and (kind in MESSAGES or not self._helps):
            return
        problem = f"no handler for {kind}"
        if self._helps and (close := get_close_matches(kind, self._routes, 1)):
            problem += f"; did you mean {close[0]}?"
        self._sender.error(connection, ErrorCode.INVALID_MESSAGE, f"{problem} - at `$.type`", id=envelope.id)

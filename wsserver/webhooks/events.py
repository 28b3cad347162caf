"""What happens to connections and rooms, as events for backends (docs/webhooks.md has their form)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from wscore.disconnects import Disconnect
from wsserver.connections.state import Connection
from wsserver.telemetry.metrics import PEER
from wsserver.webhooks.delivering import Deliverer
from wsserver.webhooks.settings import WebhookEvent
from wsserver.webhooks.waiting import EventBatch

_encode: Final = msgspec.json.Encoder().encode


class Event(msgspec.Struct, rename="camel", omit_defaults=True):
    """One event; `timestamp` is when it happened, in ms since the epoch."""

    id: str
    type: str
    timestamp: int
    connection: str | None = None
    user: str | None = None
    is_guest: bool = False
    session: str | None = None
    address: str | None = None
    room: str | None = None
    order: int | None = None
    code: int | None = None
    by: str | None = None
    duration_ms: int | None = None


class Events:
    """Hands each event that is wanted to every target (`Witness`, and what is told of occupied rooms)."""

    def __init__(
        self, wanted: frozenset[WebhookEvent], targets: Sequence[Deliverer], process: str, now_ms: Callable[[], int]
    ) -> None:
        self._wanted = wanted
        self._targets = targets
        self._process = process
        self._now_ms = now_ms
        self._run_id = secrets.token_hex(8)
        self._count = 0
        self._order = 0

    def opened(self, connection: Connection) -> None:
        """Tell of a connection that was let in."""
        if WebhookEvent.CONNECTED in self._wanted:
            event = self._of(WebhookEvent.CONNECTED, connection)
            event.address = connection.client_ip
            self._put(event)

    def closed(self, connection: Connection, code: int, disconnect: Disconnect | None) -> None:
        """Tell of one that has ended."""
        if WebhookEvent.DISCONNECTED in self._wanted:
            event = self._of(WebhookEvent.DISCONNECTED, connection)
            event.address = connection.client_ip
            event.code = int(code if disconnect is None else disconnect.close_code)
            event.by = PEER if disconnect is None else disconnect.name
            event.duration_ms = max(0, event.timestamp - connection.created_at_ms)
            self._put(event)

    def joined(self, room: str, connection: Connection) -> None:
        """Tell of a member that has come."""
        if WebhookEvent.JOINED in self._wanted:
            self._put(self._of(WebhookEvent.JOINED, connection, room))

    def left(self, room: str, connection: Connection) -> None:
        """Tell of a member that has gone."""
        if WebhookEvent.LEFT in self._wanted:
            self._put(self._of(WebhookEvent.LEFT, connection, room))

    def room(self, room: str, is_occupied: bool, order: int | None) -> None:
        """Tell of a room that has its first member, or none any more; None as its place where nobody else counts."""
        type = WebhookEvent.ROOM_OCCUPIED if is_occupied else WebhookEvent.ROOM_VACATED
        if type in self._wanted:
            now_ms = self._now_ms()
            if order is None:
                order = self._order = max(self._order + 1, now_ms)
            self._put(Event(self._next_id(), type, now_ms, room=room, order=order))

    def body_of(self, batch: EventBatch) -> bytes:
        """Return what is posted: the events, and how many were lost before them."""
        time = datetime.fromtimestamp(self._now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        head = b'{"type":"events","timestamp":"%b","data":{"server":%b,"lost":%d,"events":[' % (
            time.replace("+00:00", "Z").encode(),
            _encode(self._process),
            batch.lost,
        )
        return head + b",".join(batch.events) + b"]}}"

    def _of(self, type: WebhookEvent, connection: Connection, room: str | None = None) -> Event:
        principal = connection.principal
        return Event(
            self._next_id(),
            type,
            self._now_ms(),
            connection.id,
            principal.user_id,
            principal.is_guest,
            connection.session_id,
            room=room,
        )

    def _next_id(self) -> str:
        self._count += 1
        return f"evt_{self._run_id}_{self._count}"

    def _put(self, event: Event) -> None:
        packed = _encode(event)
        for target in self._targets:
            target.put(packed)

"""What happens to a connection, as frozen facts for whoever watches: the terminal client, a recorder, a test."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from wsclient.handshake import Handshake
from wscore.envelope import Envelope
from wscore.foreign import Kind
from wscore.payloads import SessionCreated
from wscore.units import format_figure


class ClientState(StrEnum):
    """Where a client is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting to reconnect"
    CLOSED = "closed"


# A client can be closed from anywhere; it reconnects only from an open connection or a failed try.
TRANSITIONS: Final[dict[ClientState, frozenset[ClientState]]] = {
    ClientState.NEW: frozenset({ClientState.CONNECTING, ClientState.CLOSED}),
    ClientState.CONNECTING: frozenset({ClientState.OPEN, ClientState.WAITING, ClientState.CLOSED}),
    ClientState.OPEN: frozenset({ClientState.WAITING, ClientState.CLOSED}),
    ClientState.WAITING: frozenset({ClientState.CONNECTING, ClientState.CLOSED}),
    ClientState.CLOSED: frozenset(),
}


class Opened(msgspec.Struct, frozen=True):
    """A connection is open; `session` is None if the server did not greet with `session_created`.

    `protocol` is what is spoken. A wsctl server that greets late is told of once more, with its session.
    """

    session: SessionCreated | None
    protocol: str = "wsctl"


# One of these two is made for each frame: a Struct costs a quarter of a frozen dataclass.
class Received(msgspec.Struct, frozen=True, gc=False):
    """A frame came in: its text as it was, and the message in it, as the protocol reads it. Times in wall-clock ms.

    A frame that was `binary` has its start as hex digits for a text.
    """

    text: str
    envelope: Envelope | None
    at_ms: int
    binary: bytes | None = None
    kind: Kind = Kind.MESSAGE


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A frame went out; the fields are those of Received."""

    text: str
    at_ms: int
    envelope: Envelope | None = None
    binary: bytes | None = None


class Closed(msgspec.Struct, frozen=True):
    """A connection ended; 1006 when it was lost without a close frame. What a code means is its server's affair."""

    code: int
    reason: str
    is_ours: bool = True


class Reconnecting(msgspec.Struct, frozen=True):
    """The next try, number `attempt` since the last connection that lasted (from 1), comes in `delay_ms`."""

    attempt: int
    delay_ms: int
    problem: str


class ControlFrame(msgspec.Struct, frozen=True):
    """A ping or a pong of WebSocket itself (RFC 6455 section 5.5.2); a pong to a ping of ours has its round trip."""

    is_sent: bool
    is_ping: bool
    size_bytes: int
    at_ms: int
    round_trip_ms: float | None = None

    def __str__(self) -> str:
        name = "ping" if self.is_ping else "pong"
        if self.round_trip_ms is not None:
            return f"{name} received after {format_figure(round(self.round_trip_ms, 2))} ms"
        return f"{name} {'sent' if self.is_sent else 'received'} ({self.size_bytes} bytes)"


class GroupEvent(msgspec.Struct, frozen=True):
    """What became of the session, or of a room if it names one: the base of those that follow."""

    room: str | None


class Resumed(GroupEvent, frozen=True):
    """The session, or a room, goes on at the position that the client had read to; what was missed follows."""

    epoch: str
    seq: int


class Replayed(GroupEvent, frozen=True):
    """So many messages that were missed came after a `Resumed`, up to here."""

    count: int


class Lost(GroupEvent, frozen=True):
    """What was said is lost (`recovered: false`); events of the session, or of the room, are counted on from here."""

    epoch: str
    seq: int


class Gap(GroupEvent, frozen=True):
    """Events of the session, or of the room, did not come, these and those between; they are asked for again."""

    first_seq: int
    last_seq: int


class Doubled(GroupEvent, frozen=True):
    """An event that had come before came once more, and was dropped."""

    seq: int


class RoomRefused(GroupEvent, frozen=True):
    """A room that the client was in, or was to be in from the start, did not let it in; it is not tried again."""

    code: str
    reason: str


Event = Opened | Received | Sent | Closed | Reconnecting | Handshake | ControlFrame | GroupEvent

"""What a protocol over WebSocket is to a client: data and pure functions, no connection (design section 13)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from wscore.envelope import Envelope

Frame = str | bytes  # the payload of a text frame, or that of a binary one

BINARY_TYPE: Final = "binary"  # of a binary frame in which no message was found


class Kind(Enum):
    """What a frame that came in is for."""

    MESSAGE = "for whoever reads"
    REPLY = "for whoever asked with its id; else for whoever reads"
    GREETING = "the connection is ready now"
    REFUSAL = "the connection will not become ready"
    CONTROL = "a step of the protocol itself"
    HEARTBEAT = "a sign of life, nothing to read"
    UNREADABLE = "no message of this protocol"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one frame says.

    `message` is what people read of it: its `type`, `id`, `data` and `session_id` as the protocol has them, None for a
    frame without any; its timestamp is 0 where the protocol has none. `answer` is due at once. `silence_s` is for how
    long the server may say nothing from now on, if a greeting tells. `attachments` are binary frames that belong to
    this one and come next; one of those has -1.
    """

    kind: Kind
    message: Envelope | None = None
    answer: Frame | None = None
    silence_s: float | None = None
    attachments: int = 0


UNREADABLE: Final = Reading(Kind.UNREADABLE)


class HeartbeatFrame(msgspec.Struct, frozen=True):
    """What a client sends every `interval_s` seconds: `frame` of a new id."""

    interval_s: float
    frame: Callable[[str], Frame]


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol.

    `subprotocols` are offered, `query` is added to the URL where it has no field of that name, `path` stands in for no
    path at all. `first` is sent as soon as the WebSocket is open. The connection is ready then, or with the frame that
    `read` takes for the greeting if it `awaits_greeting`. `read` never raises, and reads what was sent as well.

    Where the server speaks first, `opening` is what `read` answers to be let in.

    `wrap(type, data, id)` makes the frame of a message; data is any JSON value or raw slice, UNSET for none. `compose(
    line, type, new_id)` makes it of a line that somebody typed; where nothing else says so the type is `type`, or
    `bare_type` if that is empty, unless lines go as they are (`has_typed_lines` is false). Both raise
    InvalidMessageError for what this protocol cannot say. Ids of requests are whole numbers if it has `numeric_ids`; a
    reply carries that of its request if it `pairs_by_id`, else replies come in the order of the requests, if at all.

    Where every request has an id that is up to the client, and gets a reply, `renumber(frame, id)` returns the same
    frame with another one, of digits; a message of one of the types `refers` names an earlier request by its id.
    """

    name: str
    read: Callable[[Frame], Reading]
    wrap: Callable[[str, object, str | None], Frame]
    compose: Callable[[str, str, Callable[[], str]], Frame]
    bare_type: str = "message"
    has_typed_lines: bool = True
    subprotocols: tuple[str, ...] = ()
    path: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    first: tuple[Frame, ...] = ()
    opening: Frame | None = None
    awaits_greeting: bool = False
    heartbeat: HeartbeatFrame | None = None
    numeric_ids: bool = False
    pairs_by_id: bool = True
    renumber: Callable[[str, str], str] | None = None
    refers: frozenset[str] = frozenset()

    def request_id(self, prefix: str, number: int) -> str:
        """Return the id of request `number`, from 1; `prefix` tells clients apart where the protocol allows it."""
        return str(number) if self.numeric_ids else f"{prefix}-{number}"

"""What an app may send: checked at the call, where its author can see what is wrong, and not at every receiver."""

from __future__ import annotations

from typing import Final

import msgspec

from wscore.envelope import (
    MAX_ID_LENGTH,
    NO_DATA,
    TYPE_RULE,
    InvalidMessageError,
    UnsendableError,
    decode_data,
    is_message_type,
)
from wscore.messages import RESERVED_TYPES
from wscore.rooms import ROOM_RULE, is_room_name
from wsserver.engines.base import MAX_REASON_BYTES, is_sendable_code
from wsserver.telemetry.counters import Labelled, MessageCounter

_MAX_REMEMBERED: Final = 1024  # an app has fewer types, unless it makes them up


class SendableTypes(dict[str, MessageCounter]):
    """The message types that were found good, each with what counts it among those `sent`.

    `types[type]` raises UnsendableError for one that cannot be sent.
    """

    __slots__ = ("_sent",)

    def __init__(self, sent: Labelled[MessageCounter]) -> None:
        super().__init__()
        self._sent = sent

    def __missing__(self, type: str) -> MessageCounter:
        check_type(type)
        counter = self._sent[type]
        if len(self) < _MAX_REMEMBERED:
            self[type] = counter
        return counter


def check_type(type: str) -> None:
    """Raise UnsendableError for a message type that no app may send."""
    if not is_message_type(type):
        raise UnsendableError(f"message type {type!r:.80}", TYPE_RULE)
    if type in RESERVED_TYPES:
        mend = "use ctx.error or hub.send_error" if type == "error" else "choose another"
        raise UnsendableError(f"message type {type!r}", f"it belongs to the server; {mend}")


def check_id(id: object) -> None:
    """Raise UnsendableError for what no message may have as its id."""
    if not isinstance(id, str) or len(id) > MAX_ID_LENGTH:
        raise UnsendableError(f"id {id!r:.80}", f"an id is a string of at most {MAX_ID_LENGTH} characters")


def check_room(room: object) -> None:
    """Raise UnsendableError for what no room can be called."""
    if not is_room_name(room):
        raise UnsendableError(f"room {room!r:.80}", ROOM_RULE)


def check_slice(type: str, data: msgspec.Raw) -> None:
    """Raise UnsendableError for a raw slice that is no JSON."""
    try:
        decode_data(data if len(memoryview(data)) else NO_DATA, msgspec.Raw)
    except InvalidMessageError as error:
        raise UnsendableError(repr(type), f"its raw data is no JSON that can be read: {error.reason}") from None


def check_close(code: int, reason: str) -> None:
    """Raise UnsendableError for what a close frame cannot carry (RFC 6455 sections 5.5 and 7.4)."""
    if not isinstance(code, int) or not is_sendable_code(code):
        allowed = "an app's own codes are 3000 to 4999; of the standard's 1000 to 1014 without 1004, 1005 and 1006"
        raise UnsendableError(f"close code {code!r:.80}", allowed)
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise UnsendableError("close reason", "it holds a lone surrogate, which is no UTF-8") from None
    if size > MAX_REASON_BYTES:
        room = f"a close frame has room for {MAX_REASON_BYTES}"
        raise UnsendableError("close reason", f"it has {size} bytes as UTF-8, and {room}")

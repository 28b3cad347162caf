"""A message as a program reads it: the fields of its envelope, with its data as plain Python values."""

from __future__ import annotations

import builtins
import re
from typing import Any, Final, TypeVar

import msgspec

from wscore.envelope import Envelope, InvalidMessageError, decode_data
from wscore.jsonvalues import has_many_large_exponents, model_of

T = TypeVar("T")

_AT: Final = re.compile(r" - at `\$([^`]*)`")


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """An envelope that came. `data` is a dict, a list, a text, a number, True, False, or None without any."""

    type: str
    timestamp: int
    data: Any = None
    id: str | None = None
    session_id: str | None = None
    room: str | None = None
    seq: int | None = None
    user_id: str | None = None

    def data_as(self, kind: builtins.type[T]) -> T:
        """Return the data as a Struct, a dataclass, a pydantic model or another type.

        Raises InvalidMessageError with the place.
        """
        try:
            return msgspec.convert(self.data, kind, dec_hook=model_of)
        except msgspec.ValidationError as error:
            problem, *paths = _AT.split(str(error))
            # The path within a model comes before the path to it.
            raise InvalidMessageError(f"{problem} - at `$.data{''.join(reversed(paths))}`", self.id) from None


_decode: Final = msgspec.json.Decoder(Message).decode
_decode_by_float: Final = msgspec.json.Decoder(Message, float_hook=float).decode  # slower, but for no number very slow


def read_message(frame: bytes) -> Message:
    """Return the message in a frame that was checked when it came."""
    return (_decode_by_float if has_many_large_exponents(frame) else _decode)(frame)


def message_of(envelope: Envelope) -> Message:
    """Return the message that an envelope is; raises InvalidMessageError for data that cannot be read."""
    data: Any = decode_data(envelope.data, Any, request_id=envelope.id)
    return Message(
        envelope.type,
        envelope.timestamp,
        data,
        envelope.id,
        envelope.session_id,
        room=envelope.room,
        user_id=envelope.user_id,
    )

"""From what somebody types or pipes to the frame that is sent; both forms of the client use it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from wsclient.dialling import read_envelope
from wscore.envelope import InvalidMessageError, MessageProtocol
from wscore.foreign.ours import outgoing_frame

# How an object begins, and no other text that somebody would send: what does not end as one was meant as one.
_OBJECT: Final = re.compile(r'\s*\{\s*"')


def piped_frame(line: str, bare_type: str, protocol: MessageProtocol) -> str:
    """Return the envelope for a line that nobody looks at before it is sent.

    Raises InvalidMessageError for what begins like an object and is no JSON, which `outgoing_frame` takes for a text,
    and for an object with a `type` that is no envelope.
    """
    if _OBJECT.match(line):
        try:
            msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidMessageError(f"it begins like a JSON object and is none: {error}") from None
    try:
        frame = outgoing_frame(line, bare_type, protocol)
        protocol.deserialize(frame.encode())
    except (UnicodeEncodeError, RecursionError):
        raise InvalidMessageError("it holds what JSON cannot") from None
    return frame


def with_id(frame: str, new_id: str) -> tuple[str, str | None]:
    """Return a frame and its `id`, which an envelope without one gets; None if the frame is no envelope."""
    envelope = read_envelope(frame)
    if envelope is None or envelope.id is not None:
        return frame, None if envelope is None else envelope.id
    # Of a key that is there twice the last one counts: what was typed stays as it is, `"id": null` included.
    return f'{frame.rstrip()[:-1].rstrip()},"id":"{new_id}"}}', new_id


def with_room(frame: str, room: str) -> str:
    """Return a frame for a room; an envelope that names one already, and what is no envelope, stays as it is."""
    envelope = read_envelope(frame)
    if envelope is None or envelope.room is not None:
        return frame
    return f'{frame.rstrip()[:-1].rstrip()},"room":"{room}"}}'

"""From what somebody types or pipes to the frame that is sent; both forms of the client use it."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from wsclient.dialling import read_envelope
from wscore.envelope import InvalidMessageError, MessageProtocol

# How an object begins, and no other text that somebody would send: what does not end as one was meant as one.
_OBJECT: Final = re.compile(r'\s*\{\s*"')


def outgoing_frame(line: str, bare_type: str, protocol: MessageProtocol) -> str:
    """Return the envelope for a text: a JSON object with a `type` is one, to which a missing timestamp is added.

    Any other object, list or text becomes the data of an envelope of `bare_type`.
    """
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list):
        value = line
    elif isinstance(value, dict) and "type" in value:
        if "timestamp" in value:
            return line
        now_ms = protocol.create_envelope(bare_type).timestamp
        return f'{{"timestamp":{now_ms},{line.strip()[1:]}'  # what was typed stays as it is
    return protocol.serialize(protocol.create_envelope(bare_type, value)).decode()


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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")

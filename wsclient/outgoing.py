"""From what somebody types to the frame that is sent; both forms of the client use it."""

from __future__ import annotations

import json

from wscore.envelope import MessageProtocol


def outgoing_frame(line: str, bare_type: str, protocol: MessageProtocol) -> str:
    """Return the envelope for a text: a JSON object with a `type` is one, to which a missing timestamp is added.

    Any other object, list or text becomes the data of an envelope of `bare_type`.
    """
    try:
        value = json.loads(line)
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

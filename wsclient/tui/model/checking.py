"""What is wrong with a draft before it is sent, in words for the line above it, and what it is sent as."""

from __future__ import annotations

import json
import re
from typing import Final

from msgspec.structs import replace

from wsclient.binaryform import REFUSED_BINARY
from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.jsontext import json_problem
from wscore.envelope import TYPE_RULE, is_message_type
from wscore.errors import ConfigError
from wscore.foreign import Adapter, ProtocolName
from wscore.foreign.binary import bytes_of_base64, bytes_of_hex

BARE_TYPE: Final = "message"  # while nobody knows what the server speaks
_SHORT_QUERY: Final = re.compile(r"\s*\{\s*[A-Za-z_.#]")
_NOTHING: Final = "there is nothing to send"


def problem_of(draft: Draft, adapter: Adapter | None) -> str | None:
    """Return why a draft cannot be sent, or None; `adapter` is what the server speaks, None if that is not known."""
    is_ours = adapter is not None and adapter.name == ProtocolName.WSCTL
    if draft.form.is_binary:
        return REFUSED_BINARY if is_ours else _problem_of_bytes(draft)
    if draft.room and not is_ours and adapter is not None:
        return f"a {adapter.name} server has no rooms"
    if draft.room and draft.form is Form.FRAME:
        return f"a frame goes just as it is, and so not to the room {draft.room}"
    if draft.form is Form.FRAME or (adapter is not None and not adapter.has_typed_lines):
        if not draft.text.strip():
            return _NOTHING
        is_checked = draft.form is Form.AUTO and adapter is not None and adapter.name != ProtocolName.RAW
        return json_problem(draft.text) if is_checked else None
    if draft.form is Form.AUTO:
        if not draft.text.strip() and draft.type == bare_type(adapter):
            return f"{_NOTHING}; an empty message needs a type of its own"
        if not _is_query(draft.text, adapter) and (problem := json_problem(draft.text)) is not None:
            return problem
        if _is_whole(draft.text):
            return None
    return TYPE_RULE if is_ours and not is_message_type(draft.type) else None


def _is_query(text: str, adapter: Adapter | None) -> bool:
    """Tell whether a text is GraphQL in its short form, `{ hello }`, and not an attempt at JSON."""
    is_graphql = adapter is not None and adapter.name == ProtocolName.GRAPHQL_WS
    return is_graphql and _SHORT_QUERY.match(text) is not None


def bare_type(adapter: Adapter | None) -> str:
    """Return the type of what is written without one."""
    return BARE_TYPE if adapter is None else adapter.bare_type


def describe(draft: Draft, adapter: Adapter | None) -> str:
    """Return what a draft without a problem would be sent as, and to which room."""
    if draft.room and not _names_room(draft):
        return f"to room {draft.room}: {describe(replace(draft, room=''), adapter)}"
    match draft.form:
        case Form.TEXT:
            return "as text"
        case Form.FRAME:
            return "as a frame, just as it is"
        case Form.HEX | Form.BASE64:
            size = "" if "{{" in draft.text or not draft.text.strip() else f", {len(bytes_of(draft)):,} bytes"
            return f"{draft.form} of a binary frame{size}"
        case Form.FILE:
            return "the name of a file, sent as a binary frame"
    if not draft.text.strip():
        return "ctrl+j sends"
    if adapter is not None and not adapter.has_typed_lines:
        return "sent as it is"
    if draft.text.lstrip()[:1] not in ("{", "["):
        return "text"
    if _is_query(draft.text, adapter):
        return "a query"
    return "a whole message, sent as it is" if _is_whole(draft.text) else "JSON"


def bytes_of(draft: Draft) -> bytes:
    """Return the bytes that hex or base64 stand for; raises ConfigError."""
    read = bytes_of_hex if draft.form is Form.HEX else bytes_of_base64
    return read(draft.text, "what is written")


def _problem_of_bytes(draft: Draft) -> str | None:
    if not draft.text.strip():
        return _NOTHING
    if draft.form is Form.FILE or "{{" in draft.text:
        return None  # seen when it is sent
    try:
        bytes_of(draft)
    except ConfigError as error:
        return str(error)
    return None


def _is_whole(text: str) -> bool:
    """Tell whether a text looks like an envelope with a type of its own."""
    return text.lstrip().startswith("{") and '"type"' in text and _has_type(text)


def _has_type(text: str) -> bool:
    try:
        return "type" in _members(text)
    except (ValueError, RecursionError):
        return True  # it has variables in it; what it is shows when it is sent


def _names_room(draft: Draft) -> bool:
    """Tell whether it is a whole envelope that goes to a room of its own."""
    try:
        return draft.form is Form.AUTO and _is_whole(draft.text) and _members(draft.text).get("room") is not None
    except (ValueError, RecursionError):
        return False


def _members(text: str) -> dict[str, object]:
    value = json.loads(text, parse_int=str, parse_float=str)
    return value if isinstance(value, dict) else {}

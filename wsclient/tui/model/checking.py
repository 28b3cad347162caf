"""What is wrong with a draft before it is sent, in words for the line above it."""

from __future__ import annotations

import json
from typing import Final

from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.jsontext import json_problem
from wscore.envelope import TYPE_RULE, is_message_type

BARE_TYPE: Final = "message"


def problem_of(draft: Draft, *, is_ours: bool) -> str | None:
    """Return why a draft cannot be sent, or None; a server that is not ours may have types of another kind."""
    if draft.form is Form.AUTO:
        if not draft.text.strip() and draft.type == BARE_TYPE:
            return "there is nothing to send; an empty message needs a type of its own"
        if (problem := json_problem(draft.text)) is not None:
            return problem
        if _is_whole(draft.text):
            return None
    return TYPE_RULE if is_ours and not is_message_type(draft.type) else None


def describe(draft: Draft) -> str:
    """Return what a draft without a problem would be sent as."""
    if draft.form is Form.TEXT:
        return "as text"
    if not draft.text.strip():
        return "ctrl+j sends"
    if draft.text.lstrip()[:1] not in ("{", "["):
        return "text"
    return "a whole message, sent as it is" if _is_whole(draft.text) else "JSON"


def _is_whole(text: str) -> bool:
    """Tell whether a text looks like an envelope with a type of its own."""
    return text.lstrip().startswith("{") and '"type"' in text and _has_type(text)


def _has_type(text: str) -> bool:
    try:
        value = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return True  # it has variables in it; what it is shows when it is sent
    return isinstance(value, dict) and "type" in value

"""JSON-RPC 2.0: a method with params, and a result or an error with the id of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from wscore.envelope import NO_DATA, Envelope
from wscore.foreign.adapter import UNREADABLE, Adapter, Frame, Kind, Reading
from wscore.foreign.values import encoded, items_of, members_of, present, raw_of, text_of, typed, with_member, word_of


def _read(frame: Frame) -> Reading:
    """Read a call, its type the method, or an answer, its type `result` or `error`; a batch is one message."""
    if isinstance(frame, bytes):
        return UNREADABLE
    members = members_of(frame)
    if members is None:
        is_batch = items_of(frame) is not None
        return (
            Reading(Kind.MESSAGE, Envelope("batch", 0, None, msgspec.Raw(frame.encode()))) if is_batch else UNREADABLE
        )
    id = word_of(members.get("id"))
    method = word_of(members.get("method"))
    if method is not None:
        return Reading(Kind.MESSAGE, Envelope(method, 0, None, members.get("params", NO_DATA), id))
    for name in ("error", "result"):
        if name in members and bytes(members[name]) != b"null":
            return Reading(Kind.REPLY, Envelope(name, 0, None, members[name], id))
    return (
        Reading(Kind.REPLY, Envelope("result", 0, None, members["result"], id)) if "result" in members else UNREADABLE
    )


def _wrap(type: str, data: object, id: str | None) -> Frame:
    call: dict[str, object] = {"jsonrpc": "2.0", "method": type}
    if present(data):
        value = raw_of(data)
        is_structured = members_of(value) is not None or items_of(value) is not None
        call["params"] = value if is_structured else msgspec.Raw(encoded([value]))  # by position, as the standard asks
    if id is not None:
        call["id"] = _id_of(id)
    return text_of(call)


def _id_of(id: str) -> int | str:
    return int(id) if id.isascii() and id.isdigit() and len(id) < 16 else id


def _compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
    """Return a frame or a batch as it is; a call without `jsonrpc` gets it and an id; other lines become calls."""
    members = members_of(line)
    if members is not None and "jsonrpc" in members:
        return line
    if members is not None and "method" in members:
        id = "" if "id" in members else f'"id":{text_of(_id_of(new_id()))},'
        return f'{{"jsonrpc":"2.0",{id}{line.strip()[1:]}'
    items = items_of(line)
    if items and all("jsonrpc" in (members_of(item) or ()) for item in items):
        return line
    said = typed(line, type or "message")
    return _wrap(said.type, said.data, said.id or new_id())


JSONRPC: Final = Adapter(
    name="jsonrpc",
    read=_read,
    wrap=_wrap,
    compose=_compose,
    numeric_ids=True,
    renumber=lambda frame, id: with_member(frame, "id", id),
)

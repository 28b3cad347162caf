"""GraphQL over WebSocket, the subprotocol `graphql-transport-ws` as the npm package `graphql-ws` speaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from wscore.envelope import NO_DATA, Envelope
from wscore.foreign.adapter import UNREADABLE, Adapter, Frame, Kind, Reading
from wscore.foreign.values import members_of, present, text_of, typed, with_member, word_of

SUBPROTOCOL: Final = "graphql-transport-ws"

_KINDS: Final = {
    "connection_ack": Kind.GREETING,
    "ping": Kind.HEARTBEAT,
    "pong": Kind.HEARTBEAT,
    "next": Kind.REPLY,
    "error": Kind.REPLY,
    "complete": Kind.MESSAGE,
    "connection_init": Kind.CONTROL,
    "subscribe": Kind.MESSAGE,
}
_PONG: Final = '{"type":"pong"}'


def graphql_adapter(payload: msgspec.Raw | None = None) -> Adapter:
    """Return the adapter; `payload` is what `connection_init` carries, such as a token."""
    return Adapter(
        name="graphql-ws",
        read=_read,
        wrap=_wrap,
        compose=_compose,
        bare_type="subscribe",
        subprotocols=(SUBPROTOCOL,),
        first=(_wrap("connection_init", msgspec.UNSET if payload is None else payload, None),),
        awaits_greeting=True,
        renumber=lambda frame, id: with_member(frame, "id", f'"{id}"'),
        refers=frozenset(("complete",)),
    )


def _read(frame: Frame) -> Reading:
    members = members_of(frame) if isinstance(frame, str) else None
    type_name = None if members is None else word_of(members.get("type"))
    if members is None or type_name is None:
        return UNREADABLE
    message = Envelope(type_name, 0, None, members.get("payload", NO_DATA), word_of(members.get("id")))
    return Reading(_KINDS.get(type_name, Kind.MESSAGE), message, _PONG if type_name == "ping" else None)


def _wrap(type: str, data: object, id: str | None) -> Frame:
    message: dict[str, object] = {"type": type}
    if id is not None:
        message["id"] = id
    if present(data):
        message["payload"] = data
    return text_of(message)


def _compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
    """Return a frame as it is; a query, as text or as `{"query": ...}`, becomes a subscription of its own id."""
    members = members_of(line)
    if members is None:
        return _wrap("subscribe", {"query": line}, new_id())
    if "query" in members:
        return _wrap("subscribe", msgspec.Raw(line.strip().encode()), new_id())
    if "payload" in members:
        return line
    said = typed(line, type or "subscribe")
    return _wrap(said.type, said.data, said.id or (new_id() if said.type == "subscribe" else None))

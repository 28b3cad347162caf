"""Phoenix channels, serializer 2.0.0: each frame is `[join_ref, ref, topic, event, payload]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from wscore.envelope import NO_DATA, Envelope
from wscore.foreign.adapter import UNREADABLE, Adapter, Frame, HeartbeatFrame, Kind, Reading
from wscore.foreign.values import items_of, members_of, present, raw_of, text_of, typed, word_of

JOIN_REF: Final = "1"  # of the one channel that a connection joins, and the ref of joining it
HEARTBEAT_S: Final = 30.0  # as phoenix.js; the server closes after 60 s of silence
_SYSTEM: Final = "phoenix"
_NOTHING: Final = msgspec.Raw(b"{}")


def phoenix_adapter(topic: str = "room:lobby", payload: msgspec.Raw | None = None) -> Adapter:
    """Return the adapter of a channel; `payload` is what is said at joining it."""

    def wrap(type: str, data: object, id: str | None) -> Frame:
        value = raw_of(data) if present(data) else _NOTHING
        if members_of(value) is None:  # a payload is an object
            value = raw_of({"body": value})
        return text_of([JOIN_REF, id, topic, type, value])

    def compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
        items = items_of(line)
        if items is not None and len(items) == 5:
            return line
        said = typed(line, type or "new_msg")
        return wrap(said.type, said.data, said.id or new_id())

    return Adapter(
        name="phoenix",
        read=_read,
        wrap=wrap,
        compose=compose,
        bare_type="new_msg",
        path="/socket/websocket",
        query=(("vsn", "2.0.0"),),
        first=(text_of([JOIN_REF, JOIN_REF, topic, "phx_join", _NOTHING if payload is None else payload]),),
        awaits_greeting=True,
        renumber=_renumber,
        heartbeat=HeartbeatFrame(HEARTBEAT_S, lambda id: text_of([None, id, _SYSTEM, "heartbeat", {}])),
    )


def _renumber(frame: str, id: str) -> str:
    items = items_of(frame)
    return frame if items is None or len(items) != 5 else text_of([items[0], id, *items[2:]])


def _read(frame: Frame) -> Reading:
    """Read a message; its topic is the session, the status and the response of a reply are its data."""
    if isinstance(frame, bytes):
        return UNREADABLE
    items = items_of(frame)
    if items is None or len(items) != 5:
        return UNREADABLE
    ref, topic, event = (word_of(raw) for raw in items[1:4])
    if topic is None or event is None:
        return UNREADABLE
    if topic == _SYSTEM:
        return Reading(Kind.HEARTBEAT, Envelope("ping" if event == "heartbeat" else "pong", 0, topic, NO_DATA, ref))
    message = Envelope(event, 0, topic, items[4], ref)
    if event != "phx_reply":
        kind = Kind.CONTROL if event in ("phx_join", "phx_leave") else Kind.MESSAGE
        return Reading(Kind.REFUSAL if event == "phx_error" and ref == JOIN_REF else kind, message)
    if ref != JOIN_REF:
        return Reading(Kind.REPLY, message)
    reply = members_of(items[4]) or {}
    return Reading(Kind.GREETING if word_of(reply.get("status")) == "ok" else Kind.REFUSAL, message)

"""Socket.IO 5 over Engine.IO 4, WebSocket only: a digit or two for what a frame is, then JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from wscore.envelope import NO_DATA, Envelope, InvalidMessageError
from wscore.foreign.adapter import BINARY_TYPE, UNREADABLE, Adapter, Frame, Kind, Reading
from wscore.foreign.values import encoded, items_of, members_of, present, text_of, typed, word_of

# Engine.IO's `4` (message), Socket.IO's kind, attachments of a binary event, a namespace, the id of an acknowledgement.
_PACKET: Final = re.compile(
    r"4(?P<kind>[0-6])(?:(?P<parts>\d{1,9})-)?(?:(?P<space>/[^,]*),)?(?P<id>\d+)?(?P<rest>.*)", re.DOTALL
)
_CONNECT, _DISCONNECT, _EVENT, _ACK, _REFUSAL, _BINARY_EVENT, _BINARY_ACK = "0123456"
_ATTACHMENT: Final = Reading(Kind.MESSAGE, Envelope(BINARY_TYPE, 0), attachments=-1)  # of the event before it
# A line that is a packet already; "42 apples" is none.
_TYPED: Final = re.compile(r"4[0-6](?:\d+-)?(?:/[^,]*,)?\d*[\[{]")


def socketio_adapter(namespace: str = "/", auth: msgspec.Raw | None = None) -> Adapter:
    """Return the adapter of a namespace; `auth` is what the client says of itself there."""
    space = "" if namespace == "/" else f"{namespace},"
    connect = f"40{space}{'' if auth is None else bytes(auth).decode()}"

    def read(frame: Frame) -> Reading:
        if isinstance(frame, bytes):
            return _ATTACHMENT
        if frame[:1] == "4":
            return _read_packet(frame)
        return _read_engine(frame, connect)

    def wrap(type: str, data: object, id: str | None) -> Frame:
        if id is not None and not (id.isascii() and id.isdigit()):
            raise InvalidMessageError(f"the id of a Socket.IO event is a whole number, and {id!r} is none")
        arguments = items_of(encoded(data)) if present(data) else []
        items = [type, *([data] if arguments is None else arguments)]
        return f"42{space}{id or ''}{text_of(items)}"

    def compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
        if _TYPED.match(line):
            return line
        said = typed(line, type or "message")
        return wrap(said.type, said.data, said.id)

    return Adapter(
        name="socketio",
        read=read,
        wrap=wrap,
        compose=compose,
        path="/socket.io/",
        query=(("EIO", "4"), ("transport", "websocket")),
        opening=connect,
        awaits_greeting=True,
        numeric_ids=True,
        renumber=_renumber,
    )


def _renumber(frame: str, id: str) -> str:
    packet = _PACKET.fullmatch(frame)
    if packet is None or packet["id"] is None:
        return frame
    start, end = packet.span("id")
    return f"{frame[:start]}{id}{frame[end:]}"


def _read_engine(frame: str, connect: str) -> Reading:
    match frame[:1]:
        case "0":
            opened = members_of(frame[1:]) or {}
            wait_ms = sum(_ms(word_of(opened.get(name))) for name in ("pingInterval", "pingTimeout"))
            message = Envelope("open", 0, None, msgspec.Raw(frame[1:].encode()) if opened else NO_DATA)
            return Reading(Kind.CONTROL, message, connect, wait_ms / 1000 or None)
        case "1":
            return Reading(Kind.CONTROL, Envelope("close", 0))
        case "2":
            return Reading(Kind.HEARTBEAT, Envelope("ping", 0), "3" + frame[1:])
        case "3":
            return Reading(Kind.HEARTBEAT, Envelope("pong", 0))
    return UNREADABLE


def _ms(word: str | None) -> int:
    return int(word) if word is not None and word.isascii() and word.isdigit() and len(word) < 12 else 0


def _read_packet(frame: str) -> Reading:
    packet = _PACKET.fullmatch(frame)
    if packet is None:
        return UNREADABLE
    kind, space, id, rest = packet["kind"], packet["space"], packet["id"], packet["rest"]
    if kind in (_CONNECT, _REFUSAL, _DISCONNECT):
        name = {_CONNECT: "connect", _REFUSAL: "connect_error", _DISCONNECT: "disconnect"}[kind]
        data = msgspec.Raw(rest.encode(errors="replace")) if members_of(rest) is not None else NO_DATA
        message = Envelope(name, 0, space, data)
        return Reading({_CONNECT: Kind.GREETING, _REFUSAL: Kind.REFUSAL}.get(kind, Kind.CONTROL), message)
    items = items_of(rest)
    if items is None:
        return UNREADABLE
    if kind in (_ACK, _BINARY_ACK):
        reply = Envelope("ack", 0, space, _arguments(items), id)
        return Reading(Kind.REPLY, reply, attachments=_parts(packet))
    name = (word_of(items[0]) if items else None) or ""
    event = Envelope(name, 0, space, _arguments(items[1:]), id)
    return Reading(Kind.MESSAGE, event, attachments=_parts(packet))


def _parts(packet: re.Match[str]) -> int:
    return int(packet["parts"] or 0) if packet["kind"] in (_BINARY_EVENT, _BINARY_ACK) else 0


def _arguments(items: list[msgspec.Raw]) -> msgspec.Raw:
    """Return the one argument, none for none, or a list of several."""
    if len(items) == 1:
        return items[0]
    return msgspec.Raw(encoded(items)) if items else NO_DATA

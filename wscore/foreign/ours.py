"""wsctl's own protocol as one of the adapters, and how a server of ours is recognised."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import msgspec

from wscore.codes import ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol, decode_data
from wscore.foreign.adapter import UNREADABLE, Adapter, Frame, Kind, Reading
from wscore.jsonvalues import has_long_number
from wscore.payloads import SessionCreated, Timestamp

GREETING: Final = "session_created"
DEFAULT_TYPE: Final = "message"  # of what is typed without one
_CODES: Final = frozenset(ErrorCode)
_SPECIAL: Final = frozenset(("ping", GREETING, "error"))
_MESSAGE, _REPLY = Kind.MESSAGE, Kind.REPLY  # of nearly every frame: to look a member up takes as long as all else


class _Coded(msgspec.Struct):
    code: str


def envelope_of(frame: Frame) -> Envelope | None:
    """Return the envelope in a frame, None if it is not one."""
    if isinstance(frame, bytes):
        return None
    try:
        return MessageProtocol.deserialize(frame.encode())
    except (InvalidMessageError, UnicodeEncodeError):
        return None


def is_ours(frame: Frame) -> bool:
    """Tell whether the first frame of a connection is from a wsctl server: its greeting, or an error in its place."""
    envelope = envelope_of(frame)
    if envelope is None:
        return False
    return envelope.type == GREETING or (envelope.type == "error" and error_code(envelope) != "")


def lacks_token(frame: Frame) -> bool:
    """Tell whether a wsctl server asks for a token."""
    envelope = envelope_of(frame)
    return envelope is not None and envelope.type == "error" and error_code(envelope) == ErrorCode.AUTH_REQUIRED


def error_code(envelope: Envelope) -> str:
    """Return the code in an `error` of a wsctl server, nothing if there is none that is known."""
    try:
        code = decode_data(envelope.data, _Coded).code
    except InvalidMessageError:
        return ""
    return code if code in _CODES else ""


def wsctl_adapter(now_ms: Callable[[], int]) -> Adapter:
    """Return the adapter; `now_ms` gives the time that envelopes carry, wall-clock ms."""
    protocol = MessageProtocol(now_ms)

    def wrap(type: str, data: object, id: str | None) -> Frame:
        return protocol.serialize(protocol.create_envelope(type, data, id=id)).decode()

    def read(frame: Frame) -> Reading:
        envelope = envelope_of(frame)
        if envelope is None:
            return UNREADABLE
        type_name = envelope.type
        if type_name not in _SPECIAL:
            return Reading(_MESSAGE if envelope.id is None else _REPLY, envelope)
        if type_name == "ping":
            return Reading(Kind.HEARTBEAT, envelope, wrap("pong", Timestamp(now_ms()), None))
        if type_name == GREETING:
            return Reading(Kind.GREETING, envelope, None, _silence_s(envelope))
        return Reading(Kind.REFUSAL, envelope)  # before the greeting; later it is an answer like any other

    def compose(line: str, type: str, new_id: Callable[[], str]) -> Frame:
        return outgoing_frame(line, type or DEFAULT_TYPE, protocol)

    return Adapter(name="wsctl", read=read, wrap=wrap, compose=compose, awaits_greeting=True)


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
    else:
        value = _as_typed(line, value)
    return protocol.serialize(protocol.create_envelope(bare_type, value)).decode()


def _as_typed(line: str, value: object) -> object:
    """Return JSON on one line, its numbers and its doubled keys as they were typed; `value` if not all can read it."""
    try:
        text = line.encode()
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return value
    return value if has_long_number(text) else msgspec.Raw(msgspec.json.format(text, indent=-1))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _silence_s(envelope: Envelope) -> float | None:
    try:
        timeout_ms = decode_data(envelope.data, SessionCreated).heartbeat.timeout_ms
    except InvalidMessageError:
        return None
    return timeout_ms / 1000 if timeout_ms > 0 else None

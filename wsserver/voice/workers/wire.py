"""What a pool and its workers say to each other: MessagePack behind a length of four bytes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wscore.errors import WsctlError

LENGTH_BYTES: Final = 4
MAX_MESSAGE_BYTES: Final = 64 << 20


class WireError(WsctlError):
    """The other end wrote something that is no message."""


class LoadModel(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The first message: construct the engine. No load or call may last longer than these seconds."""

    engine: str
    arguments: dict[str, Any]
    load_limit_s: float
    call_limit_s: float


class Start(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Begin with a stream; answered."""

    call: int
    stream: int


class Call(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Work for a stream; answered."""

    call: int
    stream: int
    op: str
    payload: bytes


class Close(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Forget a stream; not answered."""

    stream: int


class Ready(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The engine is loaded."""


class Refused(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The engine cannot be loaded: the fields of a ConfigError; without `setting` it is the pool that has a problem."""

    setting: str
    problem: str
    mend: str


class Done(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """What a call returned."""

    call: int
    payload: bytes


class Failed(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """What a call raised, in words without the caller's, and in which line."""

    call: int
    problem: str
    place: str


Request = LoadModel | Start | Call | Close
Reply = Ready | Refused | Done | Failed

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Return a message with its length before it; raises WireError when it is too long."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(body)} bytes")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes) -> int:
    """Return how many bytes follow the length; raises WireError when no message is that long."""
    length = int.from_bytes(head, "big")
    if length > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {length} bytes")
    return length


def decode_request(body: bytes) -> Request:
    """Read what the pool wrote; raises WireError."""
    try:
        return _requests.decode(body)
    except msgspec.DecodeError:
        raise WireError("no request") from None


def decode_reply(body: bytes) -> Reply:
    """Read what a worker wrote; raises WireError."""
    try:
        return _replies.decode(body)
    except msgspec.DecodeError:
        raise WireError("no reply") from None

"""The `data` of each message type that wsctl itself speaks (design section 2)."""

from __future__ import annotations

import msgspec

from wscore.codes import ErrorCode


class Payload(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of all payloads: camelCase on the wire, absent optional fields left out."""


class Timestamp(Payload, frozen=True):
    """`ping` and `pong`: the sender's clock, ms since the epoch."""

    timestamp: int


class Heartbeat(Payload, frozen=True):
    """How often the server pings and after how much silence it closes with 4002, in ms."""

    interval_ms: int
    timeout_ms: int


class Limits(Payload, frozen=True):
    """What the server accepts; `max_message_bytes` counts one whole message."""

    max_message_bytes: int


class SessionCreated(Payload, frozen=True):
    """`session_created`, the first envelope on every accepted connection."""

    session_id: str
    user_id: str
    is_guest: bool
    connection_id: str
    heartbeat: Heartbeat
    limits: Limits


class ErrorData(Payload, frozen=True):
    """`error`: a code of the table, a text for people, and whether the same request may be tried again."""

    code: ErrorCode
    message: str
    retryable: bool
    details: dict[str, object] | None = None


class Disconnect(Payload, frozen=True):
    """`disconnect`: the server is about to close with 1001; come back after `retry_after_ms`."""

    retry_after_ms: int


class AuthRefresh(Payload, frozen=True):
    """`auth_refresh`: a fresh token of the same user, to replace the expiry in place."""

    token: str


class AuthRefreshed(Payload, frozen=True):
    """`auth_refreshed`: the answer to `auth_refresh`; wall-clock ms at which the connection now expires."""

    expires_at_ms: int


class AudioChunk(Payload, frozen=True):
    """`audio_chunk`: base64 audio and its place in the stream."""

    audio_data: str
    sequence_number: int


class Transcript(Payload, frozen=True):
    """`transcript`: recognised text, partial or final."""

    text: str
    is_final: bool


class LlmResponse(Payload, frozen=True):
    """`llm_response`: the assistant's answer."""

    text: str


# Which payload each type carries; the documentation test and `wsctl explain` read it.
PAYLOADS: dict[str, type[Payload] | None] = {
    "ping": Timestamp,
    "pong": Timestamp,
    "message": None,
    "session_created": SessionCreated,
    "error": ErrorData,
    "disconnect": Disconnect,
    "auth_refresh": AuthRefresh,
    "auth_refreshed": AuthRefreshed,
    "audio_chunk": AudioChunk,
    "transcript": Transcript,
    "llm_response": LlmResponse,
}

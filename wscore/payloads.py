"""The `data` of each message type that wsctl itself speaks (design section 2)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Payload(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of all payloads: camelCase on the wire, absent optional fields left out."""


class Timestamp(Payload, frozen=True):
    """`ping` and `pong`: the sender's clock, ms since the epoch."""

    timestamp: int


class Heartbeat(Payload, frozen=True):
    """How often the server pings and after how much silence it closes with 4002, in ms."""

    interval_ms: int
    timeout_ms: int


class RateLimit(Payload, frozen=True):
    """So much a second on average, `burst` of it at once."""

    per_second: float
    burst: float


class Limits(Payload, frozen=True):
    """What the server accepts: bytes of one whole message, and messages and bytes a second where those are limited."""

    max_message_bytes: int
    messages: RateLimit | None = None
    bytes: RateLimit | None = None


class SessionRecovery(Payload, frozen=True):
    """Where the session stands, and what to come back with: `recovered` answers who named a position already."""

    epoch: str
    seq: int
    resume_token: str
    recovered: bool | None = None

    def __repr__(self) -> str:
        return f"SessionRecovery({self.epoch!r}, {self.seq}, recovered={self.recovered})"


class SessionCreated(Payload, frozen=True):
    """`session_created`, the first envelope on every accepted connection.

    Where several workers serve one port, `worker` is the number of the one that has the connection.
    """

    session_id: str
    user_id: str
    is_guest: bool
    connection_id: str
    heartbeat: Heartbeat
    limits: Limits
    recovery: SessionRecovery | None = None
    worker: int | None = None


class HistoryLost(Payload, frozen=True):
    """`recovery`: history was lost; events of the session, or of the room, are counted anew from here."""

    epoch: str
    seq: int
    recovered: bool
    room: str | None = None


class ErrorData(Payload, frozen=True):
    """`error`: a code of the table or an app's own, a text for people, whether the same request may be tried again."""

    code: str
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


class RoomJoin(Payload, frozen=True):
    """`room.join`: be a member of a room from now on; with `presence`, be told who is there, comes and goes.

    `recovery` is the position, `{epoch, seq}`, behind which to replay.
    """

    room: str
    presence: bool = False
    recovery: object = None


class RoomRecovery(Payload, frozen=True):
    """Where a room stands; `recovered` answers who named a position."""

    epoch: str
    seq: int
    recovered: bool | None = None


class RoomJoined(Payload, frozen=True):
    """`room.joined`: the answer to `room.join`, or the app has put the connection into the room.

    To who asked for presence it names the users who are there, if they are not too many, and how many they are.
    """

    room: str
    members: list[str] | None = None
    member_count: int | None = None
    recovery: RoomRecovery | None = None


class RoomLeave(Payload, frozen=True):
    """`room.leave`: be a member of a room no longer."""

    room: str


class RoomLeft(Payload, frozen=True):
    """`room.left`: the answer to `room.leave`; with a `reason` nobody asked, and the connection was made to leave."""

    room: str
    reason: str | None = None


class Presence(Payload, frozen=True, omit_defaults=False):
    """`presence`: which users have come into a room and left it, and how many are there; of many only that.

    `members` are all who are there, in one that makes good for a time in which nobody could tell.
    """

    room: str
    joined: list[str]
    left: list[str]
    count: int
    members: list[str] | msgspec.UnsetType = msgspec.UNSET


class AudioStart(Payload, frozen=True):
    """`audio_start`: the format of the audio that follows, and of the answer's audio (which is mono)."""

    encoding: str = "pcm16"
    sample_rate: int = 16_000
    channels: int = 1


class AudioChunk(Payload, frozen=True):
    """`audio_chunk`: base64 audio and its place in the stream; the server's chunks say what they belong to."""

    audio_data: str
    sequence_number: int
    response_id: str | None = None
    encoding: str | None = None
    sample_rate: int | None = None
    is_last: bool = False


class Interrupt(Payload, frozen=True):
    """`interrupt`: stop the answer, of which the client played `played_ms`; without an id, the current one."""

    response_id: str | None = None
    played_ms: int | None = None


class TextInput(Payload, frozen=True):
    """`text_input`: a turn that is typed instead of spoken."""

    text: str


class Turn(Payload, frozen=True):
    """`speech_started` and `speech_stopped`: the turn that was heard to begin or end."""

    turn_id: str


class Transcript(Payload, frozen=True):
    """`transcript`: recognised text, partial or final."""

    text: str
    is_final: bool
    turn_id: str | None = None


class ResponseStarted(Payload, frozen=True):
    """`response_started`: an answer to this turn begins."""

    response_id: str
    turn_id: str


class LlmResponse(Payload, frozen=True):
    """`llm_response`: the assistant's answer so far, and what is new in it since the last one."""

    text: str
    response_id: str | None = None
    is_final: bool | None = None
    delta: str | None = None


class AudioCancelled(Payload, frozen=True):
    """`audio_cancelled`: drop what is not played of this answer; `played_ms` of it count as heard."""

    response_id: str
    played_ms: int


class ResponseStatus(StrEnum):
    """How an answer ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ResponseDone(Payload, frozen=True):
    """`response_done`: the answer's last message."""

    response_id: str
    turn_id: str
    status: ResponseStatus


class TurnMetrics(Payload, frozen=True):
    """`metrics`: how long each stage of a turn took, in ms; absent where there was no such stage (a typed turn).

    `endpoint_ms` is from the end of speech to the decision that it ended, `asr_ms` from there to the final
    transcript, `llm_ttft_ms` to the answer's first text, `tts_ttfb_ms` from the first sentence to the first
    audio, `e2e_ms` from the end of speech to the first audio.
    """

    turn_id: str
    endpoint_ms: int | None = None
    asr_ms: int | None = None
    llm_ttft_ms: int | None = None
    tts_ttfb_ms: int | None = None
    e2e_ms: int | None = None

"""Every message type that wsctl itself speaks, one row each (design section 2).

Whoever needs to know something of a type derives it from here: what an app may not register, what `explain` and the
completion say, what a replay leaves out, what a filter hides as heartbeat.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from wscore.payloads import (
    AudioCancelled,
    AudioChunk,
    AudioStart,
    AuthRefresh,
    AuthRefreshed,
    Disconnect,
    ErrorData,
    HistoryLost,
    Interrupt,
    LlmResponse,
    Payload,
    Presence,
    ResponseDone,
    ResponseStarted,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    SessionCreated,
    TextInput,
    Timestamp,
    Transcript,
    Turn,
    TurnMetrics,
)


class Direction(Enum):
    """Who sends a message type."""

    CLIENT = "from the client"
    SERVER = "from the server"
    BOTH = "both ways"

    @property
    def from_client(self) -> bool:
        """Whether a client sends it."""
        return self is not Direction.SERVER


class Owner(Enum):
    """Who handles a message type, or sends it."""

    SERVER = "the server itself"  # no app may register it, or send it
    APP = "the app"
    VOICE = "the voice app, or an app in its place"


PayloadType = type[Payload]


class MessageSpec(Struct, frozen=True):
    """One message type.

    `payload` is what its data holds (None: any JSON, or none). `answered_by` is the type that replies to it. `lossy`:
    a slow reader may miss it (of transcripts only the partial ones). `recoverable`: where it fans out it is worth a
    place in the history (never a lossy one). `heartbeat`: a sign of life, nothing to read. `replayable`: means the same
    on another connection.
    """

    type: str
    payload: PayloadType | None
    direction: Direction
    owner: Owner
    meaning: str = ""
    answered_by: str | None = None
    lossy: bool = False
    recoverable: bool = False
    heartbeat: bool = False
    replayable: bool = True

    @property
    def explanation(self) -> str:
        """What it is, in a sentence: the row's own text, else the first paragraph of its payload's."""
        text = self.meaning if self.payload is None else self.payload.__doc__ or ""
        return " ".join(text.partition("\n\n")[0].split())


_ROWS: Final = (
    MessageSpec(
        "message",
        None,
        Direction.BOTH,
        Owner.APP,
        "Anything; it goes to everyone in the session, or in the room that it names.",
        recoverable=True,
    ),
    MessageSpec("ping", Timestamp, Direction.BOTH, Owner.SERVER, answered_by="pong", heartbeat=True),
    # An answer to that server, and a token for it.
    MessageSpec("pong", Timestamp, Direction.BOTH, Owner.SERVER, heartbeat=True, replayable=False),
    MessageSpec(
        "auth_refresh", AuthRefresh, Direction.CLIENT, Owner.SERVER, answered_by="auth_refreshed", replayable=False
    ),
    MessageSpec("auth_refreshed", AuthRefreshed, Direction.SERVER, Owner.SERVER),
    MessageSpec("session_created", SessionCreated, Direction.SERVER, Owner.SERVER),
    MessageSpec("room.join", RoomJoin, Direction.CLIENT, Owner.SERVER, answered_by="room.joined"),
    MessageSpec("room.joined", RoomJoined, Direction.SERVER, Owner.SERVER),
    MessageSpec("room.leave", RoomLeave, Direction.CLIENT, Owner.SERVER, answered_by="room.left"),
    MessageSpec("room.left", RoomLeft, Direction.SERVER, Owner.SERVER),
    MessageSpec("presence", Presence, Direction.SERVER, Owner.SERVER),
    MessageSpec("recovery", HistoryLost, Direction.SERVER, Owner.SERVER),
    MessageSpec(
        "skipped",
        None,
        Direction.SERVER,
        Owner.SERVER,
        "In the place of an event that was not for this connection: it counts, and it shows nothing.",
    ),
    MessageSpec("error", ErrorData, Direction.SERVER, Owner.SERVER),
    MessageSpec("disconnect", Disconnect, Direction.SERVER, Owner.SERVER),
    MessageSpec("text_input", TextInput, Direction.CLIENT, Owner.VOICE, answered_by="response_started"),
    MessageSpec("audio_start", AudioStart, Direction.CLIENT, Owner.VOICE),
    MessageSpec("audio_chunk", AudioChunk, Direction.BOTH, Owner.VOICE, lossy=True),
    MessageSpec(
        "audio_end",
        None,
        Direction.BOTH,
        Owner.VOICE,
        "The turn is over, without waiting for silence; with an id it is answered once all before it was heard.",
        answered_by="audio_end",
    ),
    MessageSpec("audio_clear", None, Direction.CLIENT, Owner.VOICE, "Forget what was heard of this turn."),
    MessageSpec("interrupt", Interrupt, Direction.CLIENT, Owner.VOICE),
    MessageSpec("speech_started", Turn, Direction.SERVER, Owner.VOICE),
    MessageSpec("speech_stopped", Turn, Direction.SERVER, Owner.VOICE),
    MessageSpec("transcript", Transcript, Direction.SERVER, Owner.VOICE, recoverable=True),
    MessageSpec("response_started", ResponseStarted, Direction.SERVER, Owner.VOICE, recoverable=True),
    MessageSpec("llm_response", LlmResponse, Direction.SERVER, Owner.VOICE, recoverable=True),
    MessageSpec("audio_cancelled", AudioCancelled, Direction.SERVER, Owner.VOICE),
    MessageSpec("response_done", ResponseDone, Direction.SERVER, Owner.VOICE, recoverable=True),
    MessageSpec("metrics", TurnMetrics, Direction.SERVER, Owner.VOICE),
)

MESSAGES: Final[dict[str, MessageSpec]] = {spec.type: spec for spec in _ROWS}

# Neither may an app handle these, nor send them.
RESERVED_TYPES: Final = frozenset(spec.type for spec in _ROWS if spec.owner is Owner.SERVER)
# Also where they fan out they take no place in the history of their group; an app's own types do.
UNCOUNTED_TYPES: Final = frozenset(spec.type for spec in _ROWS if not spec.recoverable)
CLIENT_TYPES: Final = tuple(spec.type for spec in _ROWS if spec.direction.from_client)
HEARTBEAT_TYPES: Final = frozenset(spec.type for spec in _ROWS if spec.heartbeat)
NOT_REPLAYED_TYPES: Final = frozenset(spec.type for spec in _ROWS if not spec.replayable)

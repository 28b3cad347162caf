"""Error and close codes as data: what each means and what a client does about it (design section 2)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from msgspec import Struct


class Action(StrEnum):
    """What a client does after a close code; the reconnect decision reads it."""

    STOP = "stop"
    NEW_TOKEN = "get a new token"
    RECONNECT = "reconnect"
    RESUME = "reconnect and resume"
    BACKOFF = "reconnect with backoff"


class ErrorCode(StrEnum):
    """Codes of the `error` envelope."""

    AUTH_REQUIRED = "AUTH_REQUIRED"
    AUTH_INVALID = "AUTH_INVALID"
    AUTH_EXPIRED = "AUTH_EXPIRED"
    SESSION_CREATE_FAILED = "SESSION_CREATE_FAILED"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    PROCESSING_ERROR = "PROCESSING_ERROR"
    ASR_ERROR = "ASR_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    FORBIDDEN = "FORBIDDEN"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    INVALID_AUDIO = "INVALID_AUDIO"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    AUDIO_TOO_SHORT = "AUDIO_TOO_SHORT"


class CloseCode(IntEnum):
    """WebSocket close codes that wsctl sends or explains (RFC 6455 section 7.4.1; 4000-4999 are our own)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    AUTH_FAILED = 4001
    HEARTBEAT_TIMEOUT = 4002
    SLOW_CONSUMER = 4003
    KICKED = 4004


class ErrorSpec(Struct, frozen=True):
    """One error code: its meaning, the client's remedy, and whether the same request may be tried again."""

    code: ErrorCode
    meaning: str
    remedy: str
    retryable: bool = False


class CloseSpec(Struct, frozen=True):
    """One close code: its short name, when it happens, and the client's action with the reason for it."""

    code: CloseCode
    name: str
    meaning: str
    action: Action
    remedy: str


_ERRORS = (
    ErrorSpec(
        ErrorCode.AUTH_REQUIRED,
        "The connection carried no token.",
        "Send a JWT or guest token: ?token=..., an Authorization: Bearer header, or a token.* subprotocol.",
    ),
    ErrorSpec(
        ErrorCode.AUTH_INVALID,
        "The token is malformed, has a bad signature, or is of a kind this server does not accept.",
        "Get a new token; `wsctl token inspect` names the rule that refused it.",
    ),
    ErrorSpec(
        ErrorCode.AUTH_EXPIRED,
        "The token has expired, or will within 30 s while connected.",
        "Get a new token; on an open connection send it in an auth_refresh message before the expiry.",
    ),
    ErrorSpec(
        ErrorCode.SESSION_CREATE_FAILED,
        "The requested session cannot be created or joined with this token.",
        "Connect without sessionId, or with a token whose sid names the session.",
    ),
    ErrorSpec(
        ErrorCode.INVALID_MESSAGE,
        "The message is not a valid envelope, or its data does not fit its type; the text names the place.",
        "Correct the message. The connection stays open.",
    ),
    ErrorSpec(
        ErrorCode.PROCESSING_ERROR,
        "The server failed while it handled a valid message; nobody else is affected.",
        "Try the request again later; the server's log holds the cause.",
        retryable=True,
    ),
    ErrorSpec(
        ErrorCode.ASR_ERROR,
        "Speech recognition understood nothing in the audio.",
        "Speak again; the connection stays open.",
        retryable=True,
    ),
    ErrorSpec(
        ErrorCode.RATE_LIMITED,
        "The connection sent more messages or bytes than its limit allows; the message was dropped.",
        "Slow down and send it again; keeping on ends in close code 1008.",
        retryable=True,
    ),
    ErrorSpec(
        ErrorCode.FORBIDDEN,
        "The principal is known but may not do this.",
        "Use a token with the needed scope or the same user.",
    ),
    ErrorSpec(
        ErrorCode.SLOW_CONSUMER,
        "The connection read too slowly. The server does not send it: who does not read gets close code 4003 alone.",
        "Read faster or reconnect.",
        retryable=True,
    ),
    ErrorSpec(
        ErrorCode.INVALID_AUDIO,
        "The audio data cannot be decoded, or came twice or too late.",
        "Send base64 of whole samples in the announced format, in chunks that count up by one.",
    ),
    ErrorSpec(
        ErrorCode.UNSUPPORTED_FORMAT,
        "The audio encoding, sample rate or channel count is not supported, or the audio is in a container.",
        "Send the samples alone, such as pcm16, 16 kHz, mono, and announce another format in audio_start.",
    ),
    ErrorSpec(
        ErrorCode.AUDIO_TOO_SHORT,
        "The audio was committed before there was enough of it to recognise.",
        "Send more audio before the end of the turn.",
    ),
)

_CLOSES = (
    CloseSpec(
        CloseCode.NORMAL,
        "normal closure",
        "Either side ended the connection on purpose.",
        Action.STOP,
        "Nothing to do.",
    ),
    CloseSpec(
        CloseCode.GOING_AWAY,
        "going away",
        "The server is shutting down (or a browser left the page).",
        Action.RECONNECT,
        "Reconnect with full jitter, after retryAfterMs of the disconnect envelope.",
    ),
    CloseSpec(
        CloseCode.PROTOCOL_ERROR,
        "protocol error",
        "A frame broke the WebSocket protocol (RFC 6455).",
        Action.STOP,
        "Do not reconnect: the WebSocket library or a proxy on the way has a bug.",
    ),
    CloseSpec(
        CloseCode.UNSUPPORTED_DATA,
        "unsupported data",
        "A binary frame arrived where only text is spoken.",
        Action.STOP,
        "Send JSON envelopes as text frames; a bug in the client.",
    ),
    CloseSpec(
        CloseCode.NO_STATUS,
        "no status received",
        "The close frame carried no code. Never sent, only reported locally.",
        Action.BACKOFF,
        "Reconnect with backoff.",
    ),
    CloseSpec(
        CloseCode.ABNORMAL,
        "abnormal closure",
        "The connection was lost without a close frame. Never sent, only reported locally.",
        Action.BACKOFF,
        "Reconnect with backoff.",
    ),
    CloseSpec(
        CloseCode.INVALID_DATA,
        "invalid payload data",
        "A text frame was not valid UTF-8.",
        Action.STOP,
        "Send UTF-8; a bug in the client.",
    ),
    CloseSpec(
        CloseCode.POLICY_VIOLATION,
        "policy violation",
        "The rate limit kept being broken, or the Origin or the Host was refused.",
        Action.STOP,
        "Slow down, or have the origin allowed with --origin, the host with --allowed-host.",
    ),
    CloseSpec(
        CloseCode.TOO_BIG,
        "message too big",
        "A message was larger than the limit announced in session_created.",
        Action.STOP,
        "Send smaller messages, or raise --max-message-size on the server.",
    ),
    CloseSpec(
        CloseCode.MANDATORY_EXTENSION,
        "mandatory extension",
        "A client required an extension that the server did not negotiate.",
        Action.STOP,
        "Connect without requiring the extension.",
    ),
    CloseSpec(
        CloseCode.INTERNAL_ERROR,
        "internal error",
        "The server met an unexpected condition.",
        Action.BACKOFF,
        "Reconnect with backoff; the server's log holds the cause.",
    ),
    CloseSpec(
        CloseCode.SERVICE_RESTART,
        "service restart",
        "The server is restarting.",
        Action.BACKOFF,
        "Reconnect with backoff.",
    ),
    CloseSpec(
        CloseCode.TRY_AGAIN_LATER,
        "try again later",
        "A connection limit is reached, too much arrives at once, or an app could not decide about the newcomer.",
        Action.BACKOFF,
        "Reconnect with backoff.",
    ),
    CloseSpec(
        CloseCode.BAD_GATEWAY,
        "bad gateway",
        "A gateway on the way got an invalid answer from the server behind it.",
        Action.BACKOFF,
        "Reconnect with backoff.",
    ),
    CloseSpec(
        CloseCode.TLS_HANDSHAKE,
        "TLS handshake failed",
        "The TLS handshake failed. Never sent, only reported locally.",
        Action.STOP,
        "Check the certificate and the host name.",
    ),
    CloseSpec(
        CloseCode.AUTH_FAILED,
        "authentication failed",
        "The token is missing, invalid or expired; an error envelope with the exact code comes first.",
        Action.NEW_TOKEN,
        "Get a new token; never retry with the same one.",
    ),
    CloseSpec(
        CloseCode.HEARTBEAT_TIMEOUT,
        "connection timeout",
        "The server saw no sign of life within the heartbeat timeout.",
        Action.RECONNECT,
        "Reconnect with full jitter; answer each ping with a pong.",
    ),
    CloseSpec(
        CloseCode.SLOW_CONSUMER,
        "slow consumer",
        "The client read too slowly and passed its outbound limit.",
        Action.RESUME,
        "Reconnect and resume; read faster or subscribe to less.",
    ),
    CloseSpec(CloseCode.KICKED, "kicked", "An operator closed the connection.", Action.STOP, "Do not reconnect."),
)

ERRORS: dict[ErrorCode, ErrorSpec] = {spec.code: spec for spec in _ERRORS}
CLOSES: dict[CloseCode, CloseSpec] = {spec.code: spec for spec in _CLOSES}


def close_action(code: int) -> Action:
    """Return what a client does after `code`; an unknown application code means stop, any other backoff."""
    try:
        return CLOSES[CloseCode(code)].action
    except ValueError:
        return Action.STOP if 3000 <= code <= 4999 else Action.BACKOFF

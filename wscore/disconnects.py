"""Every reason for which the server ends a connection, by name: when, with which close frame, after which error.

The server's rooms name a reason; `disconnect_of` turns whatever was raised into one. What a client does then comes from
the close code, which is all that it gets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from wscore.codes import Action, CloseCode, ErrorCode, close_action
from wscore.errors import WsctlError
from wscore.principal import AuthError


@dataclass(frozen=True, slots=True)
class Disconnect:
    """One reason: its name in the log, when it comes, its close frame, and the `error` that precedes it, if any.

    Without a `reason` here the close frame says what exactly is wrong. `drops`: what still waits for the client is
    dropped, instead of being sent before the close frame.
    """

    name: str
    close_code: int
    reason: str
    meaning: str
    error: str | None = None
    drops: bool = False

    @property
    def action(self) -> Action:
        """What a client does then."""
        return close_action(self.close_code)

    def saying(self, reason: str) -> Disconnect:
        """Return the same with a reason that is more exact; an empty one changes nothing."""
        return replace(self, reason=reason) if reason else self


TOKEN_MISSING: Final = Disconnect(
    "token-missing",
    CloseCode.AUTH_FAILED,
    "The connection carries no token.",
    "The connection carried no token.",
    ErrorCode.AUTH_REQUIRED,
)
TOKEN_REFUSED: Final = Disconnect(
    "token-refused",
    CloseCode.AUTH_FAILED,
    "",
    "The token is malformed, has a bad signature, or is of a kind this server does not accept.",
    ErrorCode.AUTH_INVALID,
)
TOKEN_EXPIRED: Final = Disconnect(
    "token-expired",
    CloseCode.AUTH_FAILED,
    "Token expired",
    "The token had expired, or did so while connected and no auth_refresh brought another.",
    ErrorCode.AUTH_EXPIRED,
)
TOKEN_REVOKED: Final = Disconnect(
    "token-revoked",
    CloseCode.AUTH_FAILED,
    "The token was revoked.",
    "The token, or all tokens of its user, was revoked while connected.",
    ErrorCode.AUTH_INVALID,
)
SESSION_REFUSED: Final = Disconnect(
    "session-refused",
    CloseCode.AUTH_FAILED,
    "",
    "The session cannot be created or joined with this token.",
    ErrorCode.SESSION_CREATE_FAILED,
)
ORIGIN_REFUSED: Final = Disconnect(
    "origin-refused",
    CloseCode.POLICY_VIOLATION,
    "This origin may not connect.",
    "The web page's Origin is not among the allowed ones.",
    ErrorCode.FORBIDDEN,
)
HOST_REFUSED: Final = Disconnect(
    "host-refused",
    CloseCode.POLICY_VIOLATION,
    "This host name is not served here.",
    "The Host header names a host that is not served.",
    ErrorCode.FORBIDDEN,
)
SERVER_FULL: Final = Disconnect(
    "server-full",
    CloseCode.TRY_AGAIN_LATER,
    "",
    "A limit on connections is reached: in all, from this address, or by this user.",
)
RATE_LIMIT: Final = Disconnect(
    "rate-limit",
    CloseCode.POLICY_VIOLATION,
    "Rate limit exceeded",
    "The client went on sending over its rate limit.",
    ErrorCode.RATE_LIMITED,
)
REFUSED_BY_APP: Final = Disconnect(
    "refused-by-app",
    CloseCode.POLICY_VIOLATION,
    "",
    "The app's connecting hook refused the client; the close code follows from the error, or is the app's own.",
    ErrorCode.FORBIDDEN,
)
HOOK_FAILED: Final = Disconnect(
    "hook-failed",
    CloseCode.TRY_AGAIN_LATER,
    "The server could not decide about the connection; try again",
    "A connecting hook, the app's or one over HTTP, failed or took too long; the server's log holds the cause.",
)
BROKER_DOWN: Final = Disconnect(
    "broker-down",
    CloseCode.TRY_AGAIN_LATER,
    "The server cannot reach the others",
    "What connects the server's processes did not answer in time, so nothing could be promised.",
)
BINARY_MESSAGE: Final = Disconnect(
    "binary-message",
    CloseCode.UNSUPPORTED_DATA,
    "Binary messages are not accepted",
    "A binary message arrived where only text is spoken.",
)
PROTOCOL_ERROR: Final = Disconnect(
    "protocol-error", CloseCode.PROTOCOL_ERROR, "", "A frame broke the WebSocket protocol (RFC 6455)."
)
INVALID_UTF8: Final = Disconnect(
    "invalid-utf8", CloseCode.INVALID_DATA, "text is not UTF-8", "A text message or a close reason was not UTF-8."
)
MESSAGE_TOO_BIG: Final = Disconnect(
    "message-too-big", CloseCode.TOO_BIG, "", "A message had too many bytes, or came in too many fragments."
)
UNFINISHED: Final = Disconnect(
    "unfinished-message",
    CloseCode.TRY_AGAIN_LATER,
    "Too much arrives at once; this message took the longest",
    "All messages on their way together were too large, and this client's had been so for the longest time.",
    drops=True,
)
HEARTBEAT_TIMEOUT: Final = Disconnect(
    "heartbeat-timeout",
    CloseCode.HEARTBEAT_TIMEOUT,
    "Connection timeout",
    "No sign of life came within the heartbeat timeout.",
)
SLOW_CONSUMER: Final = Disconnect(
    "slow-consumer",
    CloseCode.SLOW_CONSUMER,
    "Outbound limit passed",
    "The client read too slowly; what waited for it was dropped.",
    drops=True,
)
KICKED: Final = Disconnect("kicked", CloseCode.KICKED, "", "The app closed the connection of a client by its id.")
CLOSED_BY_APP: Final = Disconnect(
    "closed-by-app", CloseCode.NORMAL, "", "The app closed the connection, with 1000 or another code of its choice."
)
SHUTDOWN: Final = Disconnect(
    "shutdown", CloseCode.GOING_AWAY, "Server shutting down", "The server shuts down; a disconnect message comes first."
)
INTERNAL_ERROR: Final = Disconnect(
    "internal-error", CloseCode.INTERNAL_ERROR, "Internal error", "The server failed; its log holds the cause."
)

DISCONNECTS: Final[dict[str, Disconnect]] = {
    disconnect.name: disconnect
    for disconnect in (
        *(HOST_REFUSED, ORIGIN_REFUSED, SERVER_FULL, TOKEN_MISSING, TOKEN_REFUSED, TOKEN_EXPIRED, TOKEN_REVOKED),
        *(SESSION_REFUSED, REFUSED_BY_APP, HOOK_FAILED, BROKER_DOWN),
        *(BINARY_MESSAGE, INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR, RATE_LIMIT, UNFINISHED),
        *(HEARTBEAT_TIMEOUT, SLOW_CONSUMER, KICKED, CLOSED_BY_APP, SHUTDOWN, INTERNAL_ERROR),
    )
}
# Those that refuse or end a connection for its token.
OF_AUTH_ERRORS: Final[dict[str | None, Disconnect]] = {
    disconnect.error: disconnect for disconnect in (TOKEN_MISSING, TOKEN_REFUSED, TOKEN_EXPIRED, SESSION_REFUSED)
}
_OF_PARSERS: Final = {
    disconnect.close_code: disconnect for disconnect in (INVALID_UTF8, MESSAGE_TOO_BIG, INTERNAL_ERROR)
}


class DisconnectError(WsctlError):
    """A connection has to end.

    `reason` says why more exactly than the row, `rule` names the check that found it and `details` what else an
    operator wants to know, for the log.
    """

    def __init__(self, disconnect: Disconnect, reason: str = "", rule: str = "", **details: str) -> None:
        super().__init__(disconnect.name, reason, rule, details)
        self.disconnect = disconnect.saying(reason)
        self.rule = rule or disconnect.name
        self.details = details

    def __str__(self) -> str:
        return f"{self.disconnect.name}: {self.disconnect.reason}"


def disconnect_of(error: BaseException) -> DisconnectError:
    """Return how a connection ends because of an exception: by name where it has one, else as INTERNAL_ERROR.

    No text of a foreign exception goes to the peer.
    """
    if isinstance(error, DisconnectError):
        return error
    if isinstance(error, AuthError):
        return DisconnectError(OF_AUTH_ERRORS[error.code], error.reason, error.rule)
    return DisconnectError(INTERNAL_ERROR)


def parser_disconnect(code: int, reason: str) -> Disconnect:
    """Return how a connection has ended that a WebSocket library closed by itself, for a frame that it cannot read."""
    return _OF_PARSERS.get(code, PROTOCOL_ERROR).saying(reason)


def app_disconnect(code: int, reason: str) -> Disconnect:
    """Return how a connection ends that an app closes with a code and a reason of its choice."""
    return replace(KICKED if code == KICKED.close_code else CLOSED_BY_APP, close_code=code, reason=reason)

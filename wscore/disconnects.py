"""Every reason for which the server ends a connection, by name: its close code, text, error and the client's part.

The server's rooms name a reason; `disconnect_of` turns whatever was raised into one. The client's decision comes from
the close code, since that is all that it gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wscore.codes import CLOSES, Action, CloseCode, ErrorCode
from wscore.errors import WsctlError
from wscore.principal import AuthError


@dataclass(frozen=True, slots=True)
class Disconnect:
    """One reason: its name in logs and metrics, the close frame, and the `error` envelope that precedes it, if any."""

    name: str
    close_code: CloseCode
    reason: str
    error: ErrorCode | None = None

    @property
    def action(self) -> Action:
        """What a client does then."""
        return CLOSES[self.close_code].action


TOKEN_MISSING: Final = Disconnect(
    "token-missing", CloseCode.AUTH_FAILED, "The connection carries no token.", ErrorCode.AUTH_REQUIRED
)
TOKEN_REFUSED: Final = Disconnect(
    "token-refused", CloseCode.AUTH_FAILED, "The token is not valid.", ErrorCode.AUTH_INVALID
)
TOKEN_EXPIRED: Final = Disconnect("token-expired", CloseCode.AUTH_FAILED, "Token expired", ErrorCode.AUTH_EXPIRED)
SESSION_REFUSED: Final = Disconnect(
    "session-refused", CloseCode.AUTH_FAILED, "The session cannot be joined.", ErrorCode.SESSION_CREATE_FAILED
)
ORIGIN_REFUSED: Final = Disconnect(
    "origin-refused", CloseCode.POLICY_VIOLATION, "This origin may not connect.", ErrorCode.FORBIDDEN
)
HOST_REFUSED: Final = Disconnect(
    "host-refused", CloseCode.POLICY_VIOLATION, "This server is not known by that host name.", ErrorCode.FORBIDDEN
)
SERVER_FULL: Final = Disconnect("server-full", CloseCode.TRY_AGAIN_LATER, "Too many connections.")
RATE_LIMIT: Final = Disconnect("rate-limit", CloseCode.POLICY_VIOLATION, "Rate limit exceeded", ErrorCode.RATE_LIMITED)
BINARY_MESSAGE: Final = Disconnect("binary-message", CloseCode.UNSUPPORTED_DATA, "Binary messages are not accepted")
PROTOCOL_ERROR: Final = Disconnect("protocol-error", CloseCode.PROTOCOL_ERROR, "The frame breaks RFC 6455.")
INVALID_UTF8: Final = Disconnect("invalid-utf8", CloseCode.INVALID_DATA, "text is not UTF-8")
MESSAGE_TOO_BIG: Final = Disconnect("message-too-big", CloseCode.TOO_BIG, "The message is too big.")
HEARTBEAT_TIMEOUT: Final = Disconnect("heartbeat-timeout", CloseCode.HEARTBEAT_TIMEOUT, "Connection timeout")
SLOW_CONSUMER: Final = Disconnect("slow-consumer", CloseCode.SLOW_CONSUMER, "Outbound limit passed")
KICKED: Final = Disconnect("kicked", CloseCode.KICKED, "")
SHUTDOWN: Final = Disconnect("shutdown", CloseCode.GOING_AWAY, "Server shutting down")
INTERNAL_ERROR: Final = Disconnect("internal-error", CloseCode.INTERNAL_ERROR, "Internal error")

DISCONNECTS: Final[dict[str, Disconnect]] = {
    disconnect.name: disconnect
    for disconnect in (
        *(TOKEN_MISSING, TOKEN_REFUSED, TOKEN_EXPIRED, SESSION_REFUSED, ORIGIN_REFUSED, HOST_REFUSED, SERVER_FULL),
        *(RATE_LIMIT, BINARY_MESSAGE, PROTOCOL_ERROR, INVALID_UTF8, MESSAGE_TOO_BIG),
        *(HEARTBEAT_TIMEOUT, SLOW_CONSUMER, KICKED, SHUTDOWN, INTERNAL_ERROR),
    )
}
_OF_AUTH_ERRORS: Final = {
    disconnect.error: disconnect for disconnect in (TOKEN_MISSING, TOKEN_REFUSED, TOKEN_EXPIRED, SESSION_REFUSED)
}


class DisconnectError(WsctlError):
    """A connection has to end; `reason` says it more exactly than the row, `rule` names the check for the log."""

    def __init__(self, disconnect: Disconnect, reason: str = "", rule: str = "", **details: str) -> None:
        super().__init__(disconnect.name, reason or disconnect.reason, rule)
        self.disconnect = disconnect
        self.reason = reason or disconnect.reason
        self.rule = rule or disconnect.name
        self.details = details

    def __str__(self) -> str:
        return self.reason


def disconnect_of(error: BaseException) -> DisconnectError:
    """Return how a connection ends because of an exception: by name where it has one, else as an internal error.

    No text of a foreign exception goes to the peer.
    """
    if isinstance(error, DisconnectError):
        return error
    if isinstance(error, AuthError):
        return DisconnectError(_OF_AUTH_ERRORS[error.code], error.reason, error.rule)
    return DisconnectError(INTERNAL_ERROR)

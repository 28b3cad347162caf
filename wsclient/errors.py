"""What can go wrong for a client, each with the facts that a caller decides by."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from wscore.codes import CLOSES, CloseCode, CloseSpec
from wscore.errors import CredentialError, TargetError, WsctlError
from wscore.units import format_figure

# Of the statuses that blame the request these pass: a proxy without a backend answers 404 while that starts anew.
_PASSING: Final = frozenset({404, 408, 425, 429})
# What helps against a code by which a server of another protocol is known.
_FOREIGN_MENDS: Final = {4406: "--protocol graphql-ws asks for the subprotocol of GraphQL"}
FIRST_OF_APPLICATIONS: Final = 3000  # of the close codes: from here on they mean what an application says


class ConnectionFailedError(TargetError):
    """No connection came about: refused, unknown host, TLS, an HTTP status, or no greeting in time."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url = url
        self.problem = problem

    @property
    def summary(self) -> str:
        """Why not, for who sees where to already."""
        return f"cannot connect: {self.problem}"

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.problem}"


class HandshakeRefusedError(ConnectionFailedError):
    """An HTTP status came in place of a WebSocket; `retry_after_ms` is how long to wait, 0 if that was not said.

    What asks for another request than this one is not worth a second try: `may_retry` is False.
    """

    def __init__(self, url: str, problem: str, status: int, retry_after_ms: int = 0) -> None:
        super().__init__(url, problem)
        self.status = status
        self.retry_after_ms = retry_after_ms

    @property
    def may_retry(self) -> bool:
        """Whether the same request may be answered otherwise later."""
        return self.status in _PASSING or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class CredentialsRefusedError(HandshakeRefusedError, CredentialError):
    """The server, or a proxy, answered with HTTP 401, 403 or 407: it wants other credentials, or lets nobody in."""


class AuthenticationRefusedError(CredentialError):
    """The server refused the token: `code` is AUTH_REQUIRED, AUTH_INVALID, AUTH_EXPIRED or SESSION_CREATE_FAILED."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"the server refused the token: {self.code}: {self.message}"


class ConnectionClosedError(WsctlError):
    """The connection ended and will not come back by itself; `spec` explains the code if it is a known one.

    Of a server that is not of wsctl (`is_ours`) the codes are its own, and so is what to do about them.
    """

    def __init__(self, code: int, reason: str, *, is_ours: bool = True) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.is_ours = is_ours

    @property
    def spec(self) -> CloseSpec | None:
        """The code's row in the table, None for a server of another make."""
        return close_spec(self.code) if self.is_ours else None

    @property
    def deciding_code(self) -> int:
        """The code by which to come back or not; that of another make's application says nothing here."""
        return self.code if self.is_ours or self.code < FIRST_OF_APPLICATIONS else FIRST_OF_APPLICATIONS

    @property
    def summary(self) -> str:
        """What happened, without what to do about it."""
        return f"connection closed: {describe_close(self.code, self.reason, is_ours=self.is_ours)}"

    def __str__(self) -> str:
        mend = _FOREIGN_MENDS.get(self.code) if self.spec is None else self.spec.remedy
        return self.summary if mend is None else f"{self.summary}; {mend}"


class NotConnectedError(WsctlError):
    """Nothing can be sent now: the client is reconnecting or closed."""

    def __str__(self) -> str:
        return "not connected; wait until the client is open again"


class ServerError(WsctlError):
    """The server answered a request with an `error` envelope."""

    def __init__(self, code: str, message: str, retryable: bool, details: dict[str, object] | None = None) -> None:
        super().__init__(code, message, retryable, details)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RoomRefusedError(CredentialError):
    """The server did not let us into a room: `code` is FORBIDDEN, RATE_LIMITED or PROCESSING_ERROR."""

    def __init__(self, room: str, code: str, message: str) -> None:
        super().__init__(room, code, message)
        self.room = room
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"the server did not let us into the room {self.room}: {self.code}: {self.message}"


class RoomUnansweredError(WsctlError):
    """The server never said if it lets us into these rooms."""

    def __init__(self, rooms: Sequence[str]) -> None:
        super().__init__(rooms)
        self.rooms = rooms

    def __str__(self) -> str:
        which = f"room{'s' if len(self.rooms) > 1 else ''} {', '.join(self.rooms)}"
        return f"not joined: the server did not say if it lets us into the {which}"


class NoReplyError(WsctlError):
    """Nothing that was waited for arrived in time; `timeout_s` in seconds."""

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(what, timeout_s)
        self.what = what
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"no {self.what} within {format_figure(self.timeout_s)} s"


def close_spec(code: int) -> CloseSpec | None:
    """Return what the table says about a close code, or None for one that is not in it."""
    return CLOSES[CloseCode(code)] if code in set(CloseCode) else None


def describe_close(code: int, reason: str, *, is_ours: bool = True) -> str:
    """Return a close code in words: `1001 going away (Server shutting down)`; an application's are known of ours."""
    spec = close_spec(code) if is_ours or code < FIRST_OF_APPLICATIONS else None
    words = str(code) if spec is None else f"{code} {spec.name}"
    return f"{words} ({reason})" if reason else words

"""Who gets in: path, origin, limits, token and session, checked in this order (design section 3)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from wscore.codes import CloseCode, ErrorCode
from wscore.errors import WsctlError
from wscore.principal import AuthError, Principal
from wsserver.admission import Admission, ServerFullError
from wsserver.authentication import AuthenticationHandler
from wsserver.connections import Session
from wsserver.handshake import HEALTH_PATH, HandshakeRequest, HttpReply
from wsserver.origins import OriginPolicy
from wsserver.sessions import SessionService

_UPGRADE: Final = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))  # RFC 6455 section 4.4


class RefusedError(WsctlError):
    """A connection is not let in.

    It gets an `error` envelope with `error_code` (none when None), then `close_code`; `rule` names the check
    that refused it, for the log.
    """

    def __init__(self, error_code: ErrorCode | None, close_code: CloseCode, reason: str, rule: str) -> None:
        super().__init__(error_code, close_code, reason, rule)
        self.error_code = error_code
        self.close_code = close_code
        self.reason = reason
        self.rule = rule

    def __str__(self) -> str:
        return self.reason


def path_variants(path: str) -> frozenset[str]:
    """Return `path` with and without its last slash: clients write both."""
    return frozenset((path, path.rstrip("/") or "/"))


class Entrance:
    """Decides about handshakes. While `draining`, nobody is let in and `/healthz` says so."""

    __slots__ = ("_admission", "_authentication", "_origins", "_paths", "_sessions", "draining")

    def __init__(
        self,
        paths: frozenset[str],
        origins: OriginPolicy,
        admission: Admission,
        authentication: AuthenticationHandler,
        sessions: SessionService,
    ) -> None:
        self._paths = paths
        self._origins = origins
        self._admission = admission
        self._authentication = authentication
        self._sessions = sessions
        self.draining = False

    def answer(self, request: HandshakeRequest) -> HttpReply | None:
        """Return the plain HTTP answer to a request, or None if it may become a WebSocket.

        Whatever a browser should learn the reason of is accepted here and refused by `admit`: a page sees no
        status or close code of a failed handshake.
        """
        if request.is_oversized:
            return HttpReply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many or too long header lines\n")
        if request.path == HEALTH_PATH:
            if self.draining:
                return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
            return HttpReply(HTTPStatus.OK, "ok\n")
        if request.path not in self._paths:
            return HttpReply(HTTPStatus.NOT_FOUND, "no WebSocket at this path\n")
        if self.draining:
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, "shutting down\n", (("Retry-After", "1"),))
        if not request.wants_upgrade or request.header_values("sec-websocket-version") != ["13"]:
            return HttpReply(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket endpoint\n", _UPGRADE)
        for name in ("Host", "Sec-WebSocket-Key"):
            if len(request.header_values(name.lower())) != 1:
                return HttpReply(HTTPStatus.BAD_REQUEST, f"{name} must be there once\n")
        if len(request.header_values("origin")) > 1:
            return HttpReply(HTTPStatus.BAD_REQUEST, "Origin must be there once at most\n")
        return None

    def admit(self, request: HandshakeRequest, peer_ip: str | None) -> tuple[Principal, Session]:
        """Let a connection in and count it; raises RefusedError. `leave` undoes it."""
        if not self._origins.allows(request):
            raise RefusedError(
                ErrorCode.FORBIDDEN, CloseCode.POLICY_VIOLATION, "This origin may not connect.", "origin"
            )
        try:
            self._admission.check_peer(peer_ip)
            principal = self._authentication.authenticate(self._authentication.extract_token(request))
            self._admission.check_user(principal.user_id)
            session = self._sessions.enter(principal, request.query("sessionId"))
        except AuthError as error:
            raise RefusedError(error.code, CloseCode.AUTH_FAILED, error.reason, error.rule) from None
        except ServerFullError as error:
            raise RefusedError(None, CloseCode.TRY_AGAIN_LATER, str(error), "limit") from None
        self._admission.enter(peer_ip, principal.user_id)
        return principal, session

    def leave(self, principal: Principal, peer_ip: str | None) -> None:
        """Count a connection out that `admit` let in."""
        self._admission.leave(peer_ip, principal.user_id)

"""Who gets in: path, host, origin, limits, token and session, checked in this order (design section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from wscore.disconnects import HOST_REFUSED, ORIGIN_REFUSED, Disconnect, DisconnectError
from wscore.keys import unverified_claims
from wscore.principal import Principal
from wscore.resume import ResumeTokens
from wsserver.brokers.base import Broker
from wsserver.connections.sessions import SessionService
from wsserver.connections.state import Group
from wsserver.engines.request import HEALTH_PATH, HandshakeRequest, HttpReply
from wsserver.handshake.authentication import AuthenticationHandler
from wsserver.handshake.hosts import HostPolicy, host_name
from wsserver.handshake.limits import ConnectionLimiter
from wsserver.handshake.origins import OriginPolicy, normalise
from wsserver.handshake.signpost import SignPost

_UPGRADE: Final = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))  # RFC 6455 section 4.4
NOBODY: Final = ""  # whom the limits count a connection for that has no token
_MAX_SHOWN: Final = 200  # characters of what a stranger wrote into a header


def path_variants(path: str) -> frozenset[str]:
    """Return `path` with and without its last slash: clients write both."""
    return frozenset((path, path.rstrip("/") or "/"))


class Upgrade:
    """Decides about handshakes.

    While `draining`, nobody is let in and `/healthz` says so, as it does when the broker is not reached.
    """

    __slots__ = (
        "_authentication",
        "_broker",
        "_hosts",
        "_limiter",
        "_origins",
        "_paths",
        "_resume_tokens",
        "_sessions",
        "_signpost",
        "draining",
    )

    def __init__(
        self,
        paths: frozenset[str],
        hosts: HostPolicy,
        origins: OriginPolicy,
        limiter: ConnectionLimiter,
        authentication: AuthenticationHandler,
        sessions: SessionService,
        signpost: SignPost,
        resume_tokens: ResumeTokens,
        broker: Broker,
    ) -> None:
        self._paths = paths
        self._hosts = hosts
        self._origins = origins
        self._limiter = limiter
        self._authentication = authentication
        self._sessions = sessions
        self._signpost = signpost
        self._resume_tokens = resume_tokens
        self._broker = broker
        self.draining = False

    def answer(self, request: HandshakeRequest) -> HttpReply | None:
        """Return the plain HTTP answer to a request, or None if it may become a WebSocket.

        Whatever a browser should learn the reason of is accepted here and refused by `admit`: a page sees no
        status or close code of a failed handshake.
        """
        if request.path == HEALTH_PATH:
            if self.draining:
                return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
            if problem := self._broker.problem:
                return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem}\n".encode())
            return HttpReply(HTTPStatus.OK, b"ok\n")
        if request.path not in self._paths:
            return self._signpost.answer(request)
        if self.draining:
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"shutting down\n", (("Retry-After", "1"),))
        if not request.wants_upgrade or request.header_values("sec-websocket-version") != ["13"]:
            return HttpReply(HTTPStatus.UPGRADE_REQUIRED, b"this is a WebSocket endpoint\n", _UPGRADE)
        if len(request.header_values("host")) != 1:
            return HttpReply(HTTPStatus.BAD_REQUEST, b"Host must be there once\n")
        if request.websocket_key is None:
            return HttpReply(HTTPStatus.BAD_REQUEST, b"Sec-WebSocket-Key must be there once: 16 bytes in base64\n")
        if len(request.header_values("origin")) > 1:
            return HttpReply(HTTPStatus.BAD_REQUEST, b"Origin must be there once at most\n")
        return None

    def screen(self, request: HandshakeRequest) -> None:
        """Raise DisconnectError for a host or an origin that is not ours."""
        if not self._hosts.allows(request.host):
            name = host_name(request.host)
            mend = "" if name is None else f"--allowed-host {name}"
            raise _refused(HOST_REFUSED, "host", host=request.host[:_MAX_SHOWN], mend=mend)
        if not self._origins.allows(request):
            text = request.header("origin") or ""
            origin = normalise(text)
            mend = "" if origin is None else f"--origin {origin}"
            raise _refused(ORIGIN_REFUSED, "origin", origin=text[:_MAX_SHOWN], mend=mend)

    def admit(self, request: HandshakeRequest) -> tuple[Principal, Group]:
        """Let a connection in and count it; raises DisconnectError or AuthError. `leave` undoes it."""
        self.screen(request)
        self._limiter.check_peer(request.client_ip)
        principal = self._authentication.authenticate(self._authentication.extract_token(request))
        self._limiter.check_user(principal.user_id)
        session = self._session(request, principal)
        self._limiter.enter(request.client_ip, principal.user_id)
        return principal, session

    def identify(self, request: HandshakeRequest) -> tuple[Principal | None, Mapping[str, Any]]:
        """Return whom a connection's token names, None without one, and the claims of the token.

        All else is as for `admit`, but that the connection has no session yet: `enter` lets it in, `release` undoes it.
        """
        self.screen(request)
        self._limiter.check_peer(request.client_ip)
        principal: Principal | None = None
        claims: Mapping[str, Any] = {}
        if self._authentication.find_token(request) is not None:
            token = self._authentication.extract_token(request)
            principal = self._authentication.authenticate(token)
            if not principal.is_guest:
                claims = unverified_claims(token)[1]  # which were verified a line ago
            self._limiter.check_user(principal.user_id)
        self._limiter.enter(request.client_ip, NOBODY if principal is None else principal.user_id)
        return principal, claims

    def enter(self, request: HandshakeRequest, principal: Principal, claim: str) -> Group:
        """Let a connection in, as whoever it turned out to be; `claim` is the user that it is counted for so far.

        Raises DisconnectError or AuthError.
        """
        self.check_revoked(principal)
        if principal.user_id != claim:
            self._limiter.check_user(principal.user_id)
        session = self._session(request, principal)
        self.release(request, claim)
        self._limiter.enter(request.client_ip, principal.user_id)
        return session

    def session(self, name: str) -> Group:
        """Return a session that `enter` has let somebody into, as it is now."""
        return self._sessions.find(name)

    def check_revoked(self, principal: Principal) -> None:
        """Raise AuthError if whoever waits to be let in was revoked meanwhile."""
        self._authentication.check_revoked(principal)

    def release(self, request: HandshakeRequest, claim: str) -> None:
        """Count a connection out that `identify` counted in."""
        self._limiter.leave(request.client_ip, claim)

    def leave(self, principal: Principal, client_ip: str | None) -> None:
        """Count a connection out that `admit` let in."""
        self._limiter.leave(client_ip, principal.user_id)

    def _session(self, request: HandshakeRequest, principal: Principal) -> Group:
        """Return the session that a connection asks for; a resume token lets it back into its own."""
        wanted_id, resume = request.query("sessionId"), request.query("resume")
        was_in = False
        if wanted_id and resume:
            was_in = self._resume_tokens.origin_of(resume, principal, wanted_id) is not None
        return self._sessions.enter(principal, wanted_id, was_in=was_in)


def _refused(disconnect: Disconnect, rule: str, *, mend: str, **details: str) -> DisconnectError:
    if mend:
        details["mend"] = mend
    return DisconnectError(disconnect, rule=rule, **details)

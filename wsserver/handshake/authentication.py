"""Who wants to connect: finds the token in a handshake and turns it into a principal (design section 3)."""

from __future__ import annotations

from collections.abc import Callable

from wscore.codes import ErrorCode
from wscore.disconnects import TOKEN_REVOKED
from wscore.guest import GUEST_PREFIX, GuestVerifier
from wscore.keys import UNKNOWN_KEY
from wscore.principal import AuthError, Principal
from wscore.revocations import Revocations
from wscore.tokens import JwtVerifier
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.jwksfile import JwksFile

MAX_TOKEN_BYTES = 8192
REVOKED = "revoked"  # the rule


class AuthenticationHandler:
    """Authenticates by JWT or guest token; `now_ms` is the wall clock, ms since the epoch.

    `jwks` keeps the keys of `jwt` up to date, if they come from a file. Whoever `revocations` cover is refused.
    """

    __slots__ = ("_guests", "_jwks", "_jwt", "_now_ms", "_revocations")

    def __init__(
        self,
        jwt: JwtVerifier | None,
        guests: GuestVerifier,
        now_ms: Callable[[], int],
        revocations: Revocations,
        jwks: JwksFile | None = None,
    ) -> None:
        self._jwt = jwt
        self._guests = guests
        self._now_ms = now_ms
        self._revocations = revocations
        self._jwks = jwks

    @staticmethod
    def find_token(request: HandshakeRequest) -> str | None:
        """Return the token from `?token=`, `Authorization: Bearer` or a `token.*` subprotocol, in this order.

        None without any; empty where there is one that cannot be read.
        """
        token = request.query("token")
        if not token:
            scheme, _, value = (request.header("authorization") or "").partition(" ")
            token = value.strip() if scheme.lower() == "bearer" else request.subprotocol_token()
        return token

    @classmethod
    def extract_token(cls, request: HandshakeRequest) -> str:
        """Return the token of a request; raises AuthError with AUTH_REQUIRED when there is none."""
        token = cls.find_token(request)
        if not token:
            raise AuthError(ErrorCode.AUTH_REQUIRED, "The connection carries no token.", "token-missing")
        return token

    def authenticate(self, token: str) -> Principal:
        """Return the principal that `token` names now; raises AuthError."""
        principal = self._verify(token)
        self.check_revoked(principal)
        return principal

    def check_revoked(self, principal: Principal) -> None:
        """Raise AuthError if a principal's token is revoked; one that an app has made itself may have none."""
        if self._revocations.is_revoked(principal):
            raise AuthError(ErrorCode.AUTH_INVALID, TOKEN_REVOKED.reason, REVOKED)

    def _verify(self, token: str) -> Principal:
        if len(token) > MAX_TOKEN_BYTES:
            raise AuthError(ErrorCode.AUTH_INVALID, "The token is too long.", "token-length")
        if token.startswith(GUEST_PREFIX):
            return self._guests.verify(token, self._now_ms())
        if self._jwt is None:
            raise AuthError(ErrorCode.AUTH_INVALID, "This server accepts no JWTs: it has no key.", "jwt-off")
        if self._jwks is None:
            return self._jwt.verify(token, self._now_ms())
        self._jwks.look()
        try:
            return self._jwt.verify(token, self._now_ms())
        except AuthError as error:
            if error.rule != UNKNOWN_KEY or not self._jwks.look(at_once=True):
                raise
        return self._jwt.verify(token, self._now_ms())

"""JSON Web Tokens: verifying and minting them; the only file that knows PyJWT (RFC 7519, design section 3)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

import jwt
from jwt.exceptions import InvalidSubjectError
from jwt.types import Options

from wscore.codes import ErrorCode
from wscore.errors import ConfigError
from wscore.principal import AuthError, Principal

ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")
MIN_SECRET_BYTES: Final = 32
LEEWAY_S: Final = 30
# Beyond the year 9999 an expiry is a mistake or an attack, and datetime cannot print it.
MAX_EXP_S: Final = 253_402_300_799
MAX_NAME_LENGTH: Final = 256

# Unpadded base64url and nothing else (RFC 7515 section 7.1): decoders of base64 let padding and more pass.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# JSON escapes can spell half a surrogate pair, which no frame can carry back.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# Time and key length are checked here: the core has no clock, and PyJWT only warns about short secrets.
_OPTIONS: Final[Options] = {
    "require": ["sub", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}
_RULES: Final[Mapping[type[Exception], tuple[str, str]]] = {
    jwt.InvalidSignatureError: ("jwt-signature", "The token's signature does not match."),
    jwt.InvalidAlgorithmError: ("jwt-algorithm", "The token's algorithm is not the configured one."),
    jwt.InvalidAudienceError: ("jwt-audience", "The token is meant for another audience."),
    jwt.InvalidIssuerError: ("jwt-issuer", "The token comes from another issuer."),
    InvalidSubjectError: ("jwt-sub", "The token's sub is not a string."),
    jwt.MissingRequiredClaimError: ("jwt-claim-missing", "The token lacks a required claim."),
}


class JwtKey:
    """The one algorithm that is accepted and the key or keys that go with it.

    Keys: an HS256 secret of at least 32 bytes, a PEM public key, or a JWKS document (keys found by `kid`).
    Raises ConfigError for a key that does not fit; neither its text nor this object's repr shows the key.
    """

    __slots__ = ("_jwks", "_key", "algorithm")

    def __init__(
        self,
        algorithm: str = "HS256",
        *,
        secret: bytes | None = None,
        public_key_pem: bytes | None = None,
        jwks_json: bytes | None = None,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise ConfigError(
                "--jwt-algorithm", f"{algorithm!r} is not supported", f"use one of {', '.join(ALGORITHMS)}"
            )
        self.algorithm = algorithm
        self._key: Any = None
        self._jwks: dict[str | None, Any] = {}
        if algorithm == "HS256":
            self._key = checked_secret(secret)
        elif jwks_json is not None:
            self._jwks = _read_jwks(jwks_json, algorithm)
        elif public_key_pem is not None:
            self._key = _read_pem(public_key_pem, algorithm)
        else:
            raise ConfigError("--jwt-algorithm", f"{algorithm} needs a key", "give --jwt-public-key or --jwks-file")

    def find(self, token: str) -> Any:
        """Return the key for `token`; raises AuthError when its `kid` is not in the JWKS."""
        if self._key is not None:
            return self._key
        kid = jwt.get_unverified_header(token).get("kid")
        key = self._jwks.get(kid) if isinstance(kid, str) else None
        if key is None and kid is None and len(self._jwks) == 1:
            (key,) = self._jwks.values()
        if key is None:
            raise AuthError(ErrorCode.AUTH_INVALID, "The token's key is not among the configured ones.", "jwt-key")
        return key


def checked_secret(secret: bytes | None) -> bytes:
    """Return `secret`; raises ConfigError if it is missing or shorter than 32 bytes (RFC 7518 section 3.2)."""
    mend = "put one into WSCTL_JWT_SECRET, or: openssl rand -hex 32 > jwt.secret, then --jwt-secret-file jwt.secret"
    if secret is None:
        raise ConfigError("JWT secret", "none is set", mend)
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError("JWT secret", f"{len(secret)} bytes are too short for HS256", mend)
    return secret


def _read_pem(pem: bytes, algorithm: str) -> Any:
    checker = jwt.get_algorithm_by_name(algorithm)
    try:
        key = checker.prepare_key(pem)
    except Exception:
        raise ConfigError("--jwt-public-key", f"not a PEM public key for {algorithm}") from None
    _check_length("--jwt-public-key", checker.check_key_length(key))
    return key


def _read_jwks(document: bytes, algorithm: str) -> dict[str | None, Any]:
    try:
        keys = jwt.PyJWKSet.from_json(document.decode()).keys
    except Exception:
        raise ConfigError("--jwks-file", "not a JWKS document with usable keys") from None
    found: dict[str | None, Any] = {key.key_id: key for key in keys if key.algorithm_name == algorithm}
    if not found:
        raise ConfigError("--jwks-file", f"holds no key for {algorithm}")
    for key in found.values():
        _check_length("--jwks-file", key.Algorithm.check_key_length(key.key))
    return found


def _check_length(option: str, problem: str | None) -> None:
    # A short key would be refused with each token; who starts the server should hear of it first.
    if problem is not None:
        raise ConfigError(option, problem.rstrip("."))


class JwtVerifier:
    """Accepts or refuses JWTs by one key set; `iss` and `aud` are checked when configured."""

    __slots__ = ("_audience", "_issuer", "_key")

    def __init__(self, key: JwtKey, *, issuer: str | None = None, audience: str | None = None) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str, now_ms: int) -> Principal:
        """Return the user that `token` names at `now_ms`, with 30 s of clock leeway.

        Raises AuthError with AUTH_INVALID or AUTH_EXPIRED; no other exception escapes for any input.
        """
        if not _COMPACT.fullmatch(token):
            raise AuthError(ErrorCode.AUTH_INVALID, "The token is not a valid JWT.", "jwt-format")
        try:
            claims = jwt.decode(
                token,
                self._key.find(token),
                algorithms=[self._key.algorithm],
                options={**_OPTIONS, "verify_aud": self._audience is not None},
                audience=self._audience,
                issuer=self._issuer,
            )
            return check_claims(claims, now_ms)
        except AuthError:
            raise
        except Exception as error:  # any text may come in: whatever PyJWT raises means the token is no good
            rule, reason = _RULES.get(type(error), ("jwt-format", "The token is not a valid JWT."))
            if isinstance(error, jwt.MissingRequiredClaimError):
                reason = f"The token lacks the required claim {error.claim}."
            raise AuthError(ErrorCode.AUTH_INVALID, reason, rule) from None


def check_claims(claims: Mapping[str, Any], now_ms: int) -> Principal:
    """Return the principal that claims name, whatever signed them; raises AuthError.

    Only `JwtVerifier` and `wsctl token inspect` call this: it checks no signature.
    """
    now_s = now_ms // 1000
    exp, user_id = claims.get("exp"), claims.get("sub")
    if not _is_time(exp):
        raise AuthError(ErrorCode.AUTH_INVALID, "The token's exp is not a time before the year 10000.", "jwt-exp")
    not_before = claims.get("nbf", 0)
    if not _is_time(not_before):
        raise AuthError(ErrorCode.AUTH_INVALID, "The token's nbf is not a time.", "jwt-nbf")
    if now_s >= exp + LEEWAY_S:
        raise AuthError(ErrorCode.AUTH_EXPIRED, "The token has expired.", "jwt-expired")
    if now_s + LEEWAY_S < not_before:
        raise AuthError(ErrorCode.AUTH_INVALID, "The token is not valid yet.", "jwt-not-yet")
    if not isinstance(user_id, str) or not 0 < len(user_id) <= MAX_NAME_LENGTH:
        raise AuthError(ErrorCode.AUTH_INVALID, f"The token's sub is not 1 to {MAX_NAME_LENGTH} characters.", "jwt-sub")
    if _SURROGATE.search(user_id):
        raise AuthError(ErrorCode.AUTH_INVALID, "The token's sub is not Unicode text.", "jwt-sub")
    session_id, scope = claims.get("sid"), claims.get("scope", "")
    if session_id is not None and not isinstance(session_id, str):
        raise AuthError(ErrorCode.AUTH_INVALID, "The token's sid is not a string.", "jwt-sid")
    if not isinstance(scope, str):
        raise AuthError(ErrorCode.AUTH_INVALID, "The token's scope is not a string.", "jwt-scope")
    # Who came in on the leeway stays until its end; for everybody else the token's own expiry is enforced.
    expires_s = exp if now_s < exp else exp + LEEWAY_S
    return Principal(user_id, False, int(expires_s * 1000), session_id, frozenset(scope.split()))


def _is_time(value: object) -> TypeGuard[float]:
    # A bool is an int to Python. The range leaves out NaN too, which compares false with everything; asking
    # math.isfinite instead would raise OverflowError for a huge integer.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_EXP_S


def mint_jwt(secret: bytes, claims: Mapping[str, object]) -> str:
    """Sign `claims` with HS256; raises ConfigError for a missing or short secret, TypeError for odd claims."""
    return jwt.encode(dict(claims), checked_secret(secret), algorithm="HS256")


def unverified_claims(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims without checking anything, for display only; raises AuthError if unreadable."""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        json.dumps(claims)
    except Exception:
        raise AuthError(ErrorCode.AUTH_INVALID, "The token is not a valid JWT.", "jwt-format") from None
    return header, claims

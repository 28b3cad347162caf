"""JSON Web Tokens: what their claims must say (RFC 7519, design section 3); keys.py has their signatures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from wscore.codes import ErrorCode
from wscore.keys import JwtKey, mint_jwt, unverified_claims
from wscore.principal import AuthError, Principal
from wscore.rooms import RoomGrant, read_grants

__all__ = ["ClaimNames", "JwtKey", "JwtVerifier", "check_claims", "mint_jwt", "unverified_claims"]

LEEWAY_S: Final = 30
# Beyond the year 9999 a time is a mistake or an attack, and datetime cannot print it.
MAX_EXP_S: Final = 253_402_300_799
MAX_NAME_LENGTH: Final = 256

# JSON escapes can spell half a surrogate pair, which no frame can carry back.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims name the user, the session that the token is pinned to, and the scopes."""

    user: str = "sub"
    session: str = "sid"
    scope: str = "scope"


class JwtVerifier:
    """Accepts or refuses JWTs by one key set; `iss` is checked when configured.

    A token with `aud` is for those whom it names, so none is accepted without `audience` (RFC 7519 section 4.1.3).
    """

    __slots__ = ("_audience", "_issuer", "_key", "_names")

    def __init__(
        self,
        key: JwtKey,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        names: ClaimNames = ClaimNames(),
    ) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._names = names

    def verify(self, token: str, now_ms: int) -> Principal:
        """Return the user that `token` names at `now_ms`, with 30 s of clock leeway.

        Raises AuthError with AUTH_INVALID or AUTH_EXPIRED; no other exception escapes for any input.
        """
        payload = self._key.payload(token)
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise _invalid("The token is not a valid JWT.", "jwt-format")
        return check_claims(claims, now_ms, issuer=self._issuer, audience=self._audience, names=self._names)


def check_claims(
    claims: Mapping[str, Any],
    now_ms: int,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    names: ClaimNames = ClaimNames(),
) -> Principal:
    """Return the principal that claims name, whatever signed them; raises AuthError.

    Only `JwtVerifier` and `wsctl token` call this: it checks no signature.
    """
    for name in (names.user, "exp"):
        if name not in claims:
            raise _invalid(f"The token lacks the required claim {name}.", "jwt-claim-missing")
    if issuer is not None:
        _check_issuer(claims, issuer)
    if audience is not None or "aud" in claims:
        _check_audience(claims, audience)
    user_id = claims[names.user]
    if not isinstance(user_id, str) or not 0 < len(user_id) <= MAX_NAME_LENGTH:
        raise _wrong(names.user, user_id, f"1 to {MAX_NAME_LENGTH} characters", "jwt-sub")
    if _SURROGATE.search(user_id):
        raise _wrong(names.user, user_id, "Unicode text", "jwt-sub")
    if not isinstance(claims.get("jti", ""), str):
        raise _wrong("jti", claims["jti"], "a string", "jwt-jti")
    now_s = now_ms // 1000
    exp = _time(claims, "exp", 0)
    not_before, issued = _time(claims, "nbf", 0), _time(claims, "iat", 0)
    if now_s >= exp + LEEWAY_S:
        raise AuthError(ErrorCode.AUTH_EXPIRED, "The token has expired.", "jwt-expired")
    if now_s + LEEWAY_S < not_before:
        raise _invalid("The token is not valid yet.", "jwt-not-yet")
    if now_s + LEEWAY_S < issued:
        raise _invalid("The token's iat lies in the future.", "jwt-future")
    session_id = claims.get(names.session)
    if session_id is not None and not isinstance(session_id, str):
        raise _wrong(names.session, session_id, "a string", "jwt-sid")
    # Who came in on the leeway stays until its end; for everybody else the token's own expiry is enforced.
    expires_s = exp if now_s < exp else exp + LEEWAY_S
    return Principal(
        user_id,
        False,
        int(expires_s * 1000),
        session_id,
        _scopes(claims, names.scope),
        _rooms(claims),
        claims.get("jti"),
        int(issued * 1000) if "iat" in claims else None,
    )


def _check_issuer(claims: Mapping[str, Any], issuer: str) -> None:
    if "iss" not in claims:
        raise _invalid("The token lacks the required claim iss.", "jwt-claim-missing")
    if claims["iss"] != issuer:
        raise _invalid("The token comes from another issuer.", "jwt-issuer")


def _check_audience(claims: Mapping[str, Any], audience: str | None) -> None:
    if audience is None:
        raise _invalid("The token is for an audience (aud), and this server has no --audience.", "jwt-audience")
    if "aud" not in claims:
        raise _invalid("The token lacks the required claim aud.", "jwt-claim-missing")
    named = claims["aud"]
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise _wrong("aud", named, "a string or a list of strings", "jwt-audience")
    if audience not in listed:
        raise _invalid("The token is meant for another audience.", "jwt-audience")


def _scopes(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return the scopes: words in a string (RFC 8693 section 4.2), or a list, as several identity providers write."""
    scope = claims.get(name, "")
    if isinstance(scope, str):
        return frozenset(scope.split())
    if isinstance(scope, list) and all(isinstance(word, str) for word in scope):
        return frozenset(scope)
    raise _wrong(name, scope, "a string or a list of strings", "jwt-scope")


def _rooms(claims: Mapping[str, Any]) -> tuple[RoomGrant, ...] | None:
    if "rooms" not in claims:
        return None
    try:
        return read_grants(claims["rooms"])
    except ValueError as error:
        raise _wrong("rooms", claims["rooms"], str(error), "jwt-rooms") from None


def _time(claims: Mapping[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if not _is_time(value):
        raise _wrong(name, value, "a time in seconds before the year 10000", f"jwt-{name}")
    return value


def _is_time(value: object) -> TypeGuard[float]:
    # A bool is an int to Python. The range leaves out NaN too, which compares false with everything; asking
    # math.isfinite instead would raise OverflowError for a huge integer.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_EXP_S


def _wrong(claim: str, value: object, wanted: str, rule: str) -> AuthError:
    return _invalid(f"The token's {claim} is {'null' if value is None else f'not {wanted}'}.", rule)


def _invalid(reason: str, rule: str) -> AuthError:
    return AuthError(ErrorCode.AUTH_INVALID, reason, rule)

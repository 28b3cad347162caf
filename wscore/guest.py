"""Guest tokens, `guest_{uuid4}_{timestamp ms}` and their signed form (design section 3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from enum import StrEnum
from typing import Final
from uuid import UUID

from wscore.codes import ErrorCode
from wscore.principal import AuthError, Principal
from wscore.secrets import checked_secret

GUEST_PREFIX: Final = "guest_"
GUEST_TTL_MS: Final = 24 * 60 * 60 * 1000
MAX_FUTURE_MS: Final = 60_000  # a client's clock may run ahead by this much

_MAC_CHARACTERS = 26  # base32: 130 bits
_TOKEN = re.compile(
    r"guest_(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12})"
    r"_(?P<ms>0|[1-9][0-9]{0,15})(?:_(?P<mac>[a-z2-7]{26}))?"
)


_ID = re.compile(r"guest_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class GuestMode(StrEnum):
    """Which guest tokens a server accepts."""

    UNSIGNED = "unsigned"
    SIGNED = "signed"
    OFF = "off"


def is_guest_id(user_id: str) -> bool:
    """Tell whether this is the user id of a guest, `guest_{uuid4}` in lower case."""
    return _ID.fullmatch(user_id) is not None


def mint_guest_token(uuid: UUID, now_ms: int, secret: bytes | None = None) -> str:
    """Return a guest token for `uuid` (a version 4 UUID); with a secret, in the signed form.

    Raises ConfigError for a secret that is not fit to sign with.
    """
    body = f"{GUEST_PREFIX}{uuid}_{now_ms}"
    return body if secret is None else f"{body}_{_mac(body, checked_secret(secret))}"


class GuestVerifier:
    """Accepts or refuses guest tokens; a guest's user id is `guest_{uuid}`, in lower case.

    Raises ConfigError for a secret that is not fit to sign with, where tokens are signed.
    """

    __slots__ = ("_mode", "_secret", "_ttl_ms")

    def __init__(self, mode: GuestMode, *, secret: bytes | None = None, ttl_ms: int = GUEST_TTL_MS) -> None:
        if mode is GuestMode.SIGNED and secret is None:
            raise ValueError("signed guest tokens need a secret")
        self._mode = mode
        self._secret = checked_secret(secret) if mode is GuestMode.SIGNED else None
        self._ttl_ms = ttl_ms

    def verify(self, token: str, now_ms: int) -> Principal:
        """Return the guest that `token` names at `now_ms`.

        Raises AuthError with AUTH_INVALID (off, malformed, unsigned, bad signature, more than 60 s in the
        future) or AUTH_EXPIRED.
        """
        if self._mode is GuestMode.OFF:
            raise _invalid("This server accepts no guests.", "guests-off")
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise _invalid("The guest token is not guest_{uuid4}_{timestamp ms}.", "guest-format")
        body, _, mac = token.rpartition("_") if match["mac"] else (token, "", None)
        if self._mode is GuestMode.SIGNED:
            self._check_signature(body, mac)
        issued_ms = int(match["ms"])
        if issued_ms > now_ms + MAX_FUTURE_MS:
            raise _invalid("The guest token's timestamp lies in the future.", "guest-future")
        expires_at_ms = issued_ms + self._ttl_ms
        if now_ms >= expires_at_ms:
            raise AuthError(ErrorCode.AUTH_EXPIRED, "The guest token has expired.", "guest-expired")
        return Principal(GUEST_PREFIX + match["uuid"].lower(), True, expires_at_ms, issued_at_ms=issued_ms)

    def _check_signature(self, body: str, mac: str | None) -> None:
        assert self._secret is not None  # the constructor refuses signed mode without one
        if mac is None:
            raise _invalid("This server accepts only signed guest tokens.", "guest-unsigned")
        if not hmac.compare_digest(mac, _mac(body, self._secret)):
            raise _invalid("The guest token's signature does not match.", "guest-signature")


def _invalid(reason: str, rule: str) -> AuthError:
    return AuthError(ErrorCode.AUTH_INVALID, reason, rule)


def _mac(body: str, secret: bytes) -> str:
    digest = hmac.digest(secret, body.encode(), hashlib.sha256)
    return base64.b32encode(digest).decode().lower()[:_MAC_CHARACTERS]

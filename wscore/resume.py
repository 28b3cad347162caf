"""Resume tokens: proof that whoever comes back was in the session, as the same user (design section 4)."""

from __future__ import annotations

import base64
import hmac
from typing import Final

from wscore.principal import Principal

_PURPOSE: Final = b"wsctl resume token v1"  # the same secret signs other things as well
_LENGTH_BYTES: Final = 4


class ResumeTokens:
    """Mints and reads `<origin>.<mac>`; the key is derived from `secret`.

    The origin is the id of the client's first connection, which its later ones inherit. A token has no expiry and no
    state: it is worth nothing without credentials of its user.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _PURPOSE, "sha256")

    def rekey(self, secret: bytes) -> None:
        """Take another secret, which others have too: tokens of before are worth nothing."""
        self._key = hmac.digest(secret, _PURPOSE, "sha256")

    def mint(self, principal: Principal, session_id: str, origin: str) -> str:
        """Return the token of a connection of this user to this session."""
        return f"{origin}.{self._mac(principal, session_id, origin)}"

    def origin_of(self, token: str, principal: Principal, session_id: str) -> str | None:
        """Return the origin that a token names; None unless it is one of this user and this session."""
        origin, _, mac = token.rpartition(".")
        expected = self._mac(principal, session_id, origin)
        return origin if origin and hmac.compare_digest(mac.encode(), expected.encode()) else None

    def _mac(self, principal: Principal, session_id: str, origin: str) -> str:
        fields = ("guest" if principal.is_guest else "user", principal.user_id, session_id, origin)
        digest = hmac.digest(self._key, b"".join(map(_with_length, fields)), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _with_length(field: str) -> bytes:
    """Return a field so that no two lists of fields look the same."""
    text = field.encode("utf-8", "surrogatepass")
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text

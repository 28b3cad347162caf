"""Signs what is posted to a backend, after Standard Webhooks: its libraries verify it (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from wscore.errors import ConfigError

PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24  # what the scheme asks for
MAX_KEY_BYTES: Final = 64
MAX_KEYS: Final = 4
MEND: Final = 'echo "whsec_$(openssl rand -base64 32)" > webhook.key, then --webhook-secret-file webhook.key'


class SigningKeys:
    """One key, or several while receivers change from one to the other: each signs everything."""

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[str], source: str) -> None:
        """Take secrets from a `source`, an option or a variable; raises ConfigError, which shows nothing of them."""
        if not 1 <= len(secrets) <= MAX_KEYS:
            raise ConfigError(source, f"does not hold 1 to {MAX_KEYS} secrets", MEND)
        self._keys = tuple(_decoded(secret, source) for secret in secrets)

    def headers(self, message_id: str, timestamp_s: int, body: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request with this body; `message_id` is the same each time that it is sent."""
        signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
        signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in self._keys)
        return [
            (b"webhook-id", message_id.encode()),
            (b"webhook-timestamp", b"%d" % timestamp_s),
            (b"webhook-signature", b" ".join(b"v1," + signature for signature in signatures)),
        ]

    def __repr__(self) -> str:
        return f"SigningKeys({len(self._keys)})"


def _decoded(secret: str, source: str) -> bytes:
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(source, f"a secret is {PREFIX} and base64", MEND) from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ConfigError(source, f"a secret is {PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64", MEND)
    return key

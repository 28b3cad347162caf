"""How to dial and how a connection ended: what can be known without loading a WebSocket library."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How to dial; sizes in bytes, times in seconds."""

    headers: Mapping[str, str] | Sequence[tuple[str, str]] = field(default=(), repr=False)
    origin: str | None = None
    subprotocols: Sequence[str] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None
    uds: str | None = None
    open_timeout_s: float = 10
    close_timeout_s: float = 5
    max_message_bytes: int = 16 << 20

    @property
    def has_token(self) -> bool:
        """Whether a header or a subprotocol carries a token (design section 3)."""
        names = self.headers if isinstance(self.headers, Mapping) else (name for name, _ in self.headers)
        return any(name.lower() == "authorization" for name in names) or any(
            name.startswith("token.") for name in self.subprotocols
        )


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended; 1006 when no close frame came."""

    code: int
    reason: str


def read_envelope(text: str) -> Envelope | None:
    """Return the envelope in a frame, or None if it is not one."""
    try:
        return MessageProtocol.deserialize(text.encode())
    except (InvalidMessageError, UnicodeEncodeError):
        return None

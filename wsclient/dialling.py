"""How to dial and how a connection ended: what can be known without loading a WebSocket library."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol
from wscore.errors import ConfigError

# RFC 9110 sections 5.1 and 5.5; a subprotocol is a token like a header's name (RFC 6455 section 4.1).
_HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How to dial; sizes in bytes, times in seconds.

    Raises ConfigError for a header, origin or subprotocol that a handshake cannot carry; it shows no value.
    """

    headers: Mapping[str, str] | Sequence[tuple[str, str]] = field(default=(), repr=False)
    origin: str | None = None
    subprotocols: Sequence[str] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None
    uds: str | None = None
    open_timeout_s: float = 10
    close_timeout_s: float = 5
    max_message_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for name, value in self._header_items:
            if not _HEADER_NAME.fullmatch(name):
                raise ConfigError("--header", "the name of a header has a character that none can have")
            if not _HEADER_VALUE.fullmatch(value):
                raise ConfigError("--header", f"{name} has a control character, or one beyond Latin-1, in its value")
        if self.origin is not None and not _HEADER_VALUE.fullmatch(self.origin):
            raise ConfigError("--origin", "has a control character, or one beyond Latin-1, in it")
        if not all(_HEADER_NAME.fullmatch(name) for name in self.subprotocols):
            raise ConfigError("--subprotocol", "has a character that none can have, such as a space")

    @property
    def _header_items(self) -> Iterable[tuple[str, str]]:
        return self.headers.items() if isinstance(self.headers, Mapping) else self.headers

    @property
    def has_token(self) -> bool:
        """Whether a header or a subprotocol carries a token (design section 3)."""
        return any(name.lower() == "authorization" for name, _ in self._header_items) or any(
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

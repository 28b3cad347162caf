"""How to dial and how a connection ended: what can be known without loading a WebSocket library."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol
from wscore.errors import ConfigError

# RFC 9110 sections 5.1 and 5.5; a subprotocol is a token like a header's name (RFC 6455 section 4.1).
_HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


PING_INTERVAL_S: Final = 20.0
NO_PROXY: Final = "none"
_PROXY_SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def is_token_header(name: str, value: str) -> bool:
    """Tell whether a header carries a token; a user and a password are for whoever stands before the server."""
    return name.lower() == "authorization" and not value.lower().startswith("basic ")


@dataclass(frozen=True, slots=True)
class Pings:
    """When a server that says nothing is asked by a WebSocket ping whether it lives, and how long it has to answer.

    With `interval_s` None it is asked only where it has no heartbeat of its own; with 0 never. Times in seconds.
    """

    interval_s: float | None = None
    timeout_s: float = 20

    def wait_s(self, silence_s: float | None) -> float | None:
        """Return how long to hear nothing before it is asked, or given up, where it promised to say something."""
        if not self.may_ask(silence_s):
            return silence_s
        return PING_INTERVAL_S if self.interval_s is None else self.interval_s

    @property
    def patience_s(self) -> float:
        """How long a server that is asked is silent before it is given up."""
        return (PING_INTERVAL_S if self.interval_s is None else self.interval_s) + self.timeout_s

    def may_ask(self, silence_s: float | None) -> bool:
        """Whether to ask a server that promised to say something within `silence_s`, None if it did not."""
        return silence_s is None if self.interval_s is None else self.interval_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How to dial; sizes in bytes, times in seconds. Without a `proxy` the environment's is used; NO_PROXY is none.

    Raises ConfigError for a header, origin, subprotocol or proxy that no handshake can have; it shows no value.
    """

    headers: Mapping[str, str] | Sequence[tuple[str, str]] = field(default=(), repr=False)
    origin: str | None = None
    subprotocols: Sequence[str] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None
    uds: str | None = None
    open_timeout_s: float = 10
    close_timeout_s: float = 5
    max_message_bytes: int = 16 << 20
    pings: Pings = Pings()
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.header_items:
            if not _HEADER_NAME.fullmatch(name):
                raise ConfigError("--header", "the name of a header has a character that none can have")
            if not _HEADER_VALUE.fullmatch(value):
                raise ConfigError("--header", f"{name} has a control character, or one beyond Latin-1, in its value")
        if self.origin is not None and not _HEADER_VALUE.fullmatch(self.origin):
            raise ConfigError("--origin", "has a control character, or one beyond Latin-1, in it")
        if not all(_HEADER_NAME.fullmatch(name) for name in self.subprotocols):
            raise ConfigError("--subprotocol", "has a character that none can have, such as a space")
        if self.proxy not in (None, NO_PROXY):
            _check_proxy(self.proxy or "")

    @property
    def header_items(self) -> Iterable[tuple[str, str]]:
        """Every header, of a name as often as it is given."""
        return self.headers.items() if isinstance(self.headers, Mapping) else self.headers

    def offering(self, subprotocols: Sequence[str]) -> DialOptions:
        """Return these options with more subprotocols to offer, after those that are asked for."""
        added = [name for name in subprotocols if name not in self.subprotocols]
        return replace(self, subprotocols=(*self.subprotocols, *added)) if added else self

    @property
    def has_token(self) -> bool:
        """Whether a header or a subprotocol carries a token (design section 3)."""
        return any(is_token_header(*item) for item in self.header_items) or any(
            name.startswith("token.") for name in self.subprotocols
        )


def _check_proxy(proxy: str) -> None:
    """Raise ConfigError for what is no proxy; nothing of it is shown, as it may hold a password."""
    mend = f"write it as http://HOST:PORT or socks5h://HOST:PORT, or {NO_PROXY}"
    try:
        parts = urlsplit(proxy)
        is_whole = bool(parts.hostname) and parts.port is not None and parts.path in ("", "/") and not parts.query
    except ValueError:
        is_whole = False
    else:
        if parts.scheme not in _PROXY_SCHEMES:
            raise ConfigError("--proxy", "is not the URL of a proxy", mend)
        if (parts.username is None) is not (parts.password is None):
            raise ConfigError("--proxy", "has a user without a password", "write it as http://USER:PASSWORD@HOST:PORT")
    if not is_whole:
        raise ConfigError("--proxy", "is not the address of a proxy", mend)


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

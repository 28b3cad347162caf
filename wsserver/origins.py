"""Which web pages may connect: the Origin check (RFC 6455 section 10.2, design section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from wscore.errors import ConfigError
from wsserver.handshake import HandshakeRequest

ANY_ORIGIN: Final = "*"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class OriginPolicy:
    """Allows the listed origins, or the server's own host when none is listed.

    `allow_loopback` (dev profile) admits pages on this machine at any port, such as a front end's dev server.
    A request without an Origin comes from a program, not a page, and passes.
    """

    __slots__ = ("_allow_any", "_allow_loopback", "_allowed")

    def __init__(self, allowed: Iterable[str] = (), *, allow_loopback: bool = False) -> None:
        """Read the allow-list; raises ConfigError for an entry that is not an origin, `null` or `*`."""
        entries = frozenset(allowed)
        self._allow_any = ANY_ORIGIN in entries
        self._allow_loopback = allow_loopback
        self._allowed = frozenset(_checked(entry) for entry in entries - {ANY_ORIGIN})

    def allows(self, request: HandshakeRequest) -> bool:
        """Tell whether the page that sent `request`, if it was a page, may connect."""
        origins = request.header_values("origin")
        if not origins or self._allow_any:
            return True
        if len(origins) > 1:
            return False
        origin = _normalise(origins[0])
        if origin is None:
            return False
        if origin in self._allowed:
            return True
        if self._allow_loopback and urlsplit(origin).hostname in _LOOPBACK:
            return True
        return not self._allowed and self._is_own_host(origin, request)

    @staticmethod
    def _is_own_host(origin: str, request: HandshakeRequest) -> bool:
        hosts = request.header_values("host")
        scheme = origin.partition("://")[0]
        return len(hosts) == 1 and _normalise(f"{scheme}://{hosts[0]}") == origin


def _checked(entry: str) -> str:
    origin = _normalise(entry)
    if origin is None:
        raise ConfigError(
            "--origin", f"{entry!r} is not an origin", "write scheme and host, such as https://app.example"
        )
    return origin


def _normalise(origin: str) -> str | None:
    """Return scheme, host and non-default port in lower case (RFC 6454 section 6.1), or None."""
    if origin == "null":
        return origin
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    if any(character.isspace() or not character.isprintable() for character in origin):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"

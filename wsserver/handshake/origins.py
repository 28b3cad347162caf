"""Which web pages may connect: the Origin check (RFC 6455 section 10.2, design section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from wscore.errors import ConfigError
from wsserver.engines.request import HandshakeRequest

ANY_ORIGIN: Final = "*"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
# Nothing else is in an origin that a browser writes, and nothing of this means anything to a shell.
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")


class OriginPolicy:
    """Allows the listed origins, or the server's own host when none is listed.

    `allow_loopback` (dev profile) admits pages on this machine at any port, such as a front end's dev server.
    A request without an Origin comes from a program, not a page, and passes. Where the own host is served by TLS, a
    page that came without it is another origin: anybody on its way could have written it.
    """

    __slots__ = ("_allow_any", "_allow_loopback", "_allowed")

    def __init__(self, allowed: Iterable[str] = (), *, allow_loopback: bool = False) -> None:
        """Read the allow-list; raises ConfigError for an entry that is not an origin, `null` or `*`."""
        entries = frozenset(allowed)
        self._allow_any = ANY_ORIGIN in entries
        self._allow_loopback = allow_loopback
        self._allowed = frozenset(_checked(entry) for entry in entries - {ANY_ORIGIN})

    @property
    def hosts(self) -> frozenset[str]:
        """The host names of the listed origins."""
        hosts = (urlsplit(origin).hostname for origin in self._allowed)
        return frozenset(host for host in hosts if host is not None and ":" not in host)

    @property
    def allows_any(self) -> bool:
        """Whether every page may connect."""
        return self._allow_any

    @property
    def public(self) -> list[str]:
        """The listed origins that are not on this machine."""
        listed = sorted(origin for origin in self._allowed if urlsplit(origin).hostname not in {None, *_LOOPBACK})
        return [ANY_ORIGIN, *listed] if self._allow_any else listed

    def allows(self, request: HandshakeRequest) -> bool:
        """Tell whether the page that sent `request`, if it was a page, may connect."""
        origins = request.header_values("origin")
        if not origins or self._allow_any:
            return True
        if len(origins) > 1:
            return False
        origin = normalise(origins[0])
        if origin is None:
            return False
        if origin in self._allowed:
            return True
        if self._allow_loopback and urlsplit(origin).hostname in _LOOPBACK:
            return True
        return not self._allowed and self._is_own_host(origin, request)

    @staticmethod
    def _is_own_host(origin: str, request: HandshakeRequest) -> bool:
        scheme = "https" if request.is_secure else origin.partition("://")[0]
        return normalise(f"{scheme}://{request.host}") == origin


def _checked(entry: str) -> str:
    origin = normalise(entry)
    if origin is None:
        raise ConfigError(
            "--origin", f"{entry!r} is not an origin", "write scheme and host in ASCII, such as https://app.example"
        )
    return origin


def normalise(origin: str) -> str | None:
    """Return scheme, host and non-default port in lower case (RFC 6454 section 6.1), or None."""
    if origin == "null":
        return origin
    if not _ORIGIN.fullmatch(origin):
        return None
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"

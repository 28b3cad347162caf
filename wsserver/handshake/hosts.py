"""Which host names are served: the Host check that keeps DNS rebinding out (design section 3).

A page of evil.example can let its own name point to 127.0.0.1. For the browser the server on this machine is then of
the page's own origin; only the Host header still says where the page comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wscore.errors import ConfigError
from wsserver.engines.networks import parse_ip

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HOST = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_NAME.pattern})(?::[0-9]{{0,5}})?")


def host_name(host: str) -> str | None:
    """Return the name or the address in a Host header, in lower case and without port; None if it is neither."""
    match = _HOST.fullmatch(host)
    return None if match is None else match[1].lower()


class HostPolicy:
    """Allows this machine's name, addresses (nobody else can let those point here) and the listed names."""

    __slots__ = ("_allowed", "_is_enforced", "_last_served")

    def __init__(self, allowed: Iterable[str] = (), *, is_enforced: bool = True) -> None:
        """Take the names; raises ConfigError for one that is none."""
        self._allowed = frozenset(_checked(name) for name in allowed) | {"localhost"}
        self._is_enforced = is_enforced
        self._last_served: str | None = None  # nearly all clients ask for the same

    def allows(self, host: str) -> bool:
        """Tell whether requests for `host`, with or without a port, are served."""
        if not self._is_enforced or host == self._last_served:
            return True
        name = host_name(host)
        if name is None or (name not in self._allowed and parse_ip(name.strip("[]")) is None):
            return False
        self._last_served = host
        return True


def _checked(entry: str) -> str:
    if not _NAME.fullmatch(entry):
        raise ConfigError("--allowed-host", f"{entry!r} is not a host name", "write it as app.example, without a port")
    return entry.lower()

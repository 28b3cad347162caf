"""How many connections may be open: in all, from one IP address (of IPv6: one /64), and by one user."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from wscore.disconnects import SERVER_FULL, DisconnectError
from wsserver.engines.networks import client_key


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Upper bounds; None means unlimited."""

    total: int | None = None
    per_ip: int | None = None
    per_user: int | None = None


class ConnectionLimiter:
    """Counts connections that are let in and refuses those above the limits."""

    __slots__ = ("_limits", "_per_ip", "_per_user", "_total")

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._total = 0
        self._per_ip: Counter[str] = Counter()
        self._per_user: Counter[str] = Counter()

    def check_peer(self, ip: str | None) -> None:
        """Raise DisconnectError if no further connection from `ip` (None: a Unix socket) may come."""
        if self._limits.total is not None and self._total >= self._limits.total:
            raise _full("in all")
        per_ip = self._limits.per_ip
        if ip is not None and per_ip is not None and self._per_ip[client_key(ip)] >= per_ip:
            raise _full("from this address")

    def check_user(self, user_id: str) -> None:
        """Raise DisconnectError if no further connection of this user may come."""
        if self._limits.per_user is not None and self._per_user[user_id] >= self._limits.per_user:
            raise _full("by this user")

    def enter(self, ip: str | None, user_id: str) -> None:
        """Count one connection in."""
        self._total += 1
        self._per_user[user_id] += 1
        if ip is not None:
            self._per_ip[client_key(ip)] += 1

    def leave(self, ip: str | None, user_id: str) -> None:
        """Count one connection out; a count of zero takes no memory."""
        self._total -= 1
        _decrement(self._per_user, user_id)
        if ip is not None:
            _decrement(self._per_ip, client_key(ip))


def _full(limit: str) -> DisconnectError:
    return DisconnectError(SERVER_FULL, f"Too many connections {limit}.", "limit")


def _decrement(counter: Counter[str], key: str) -> None:
    if counter[key] <= 1:
        del counter[key]
    else:
        counter[key] -= 1

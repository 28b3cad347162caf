"""Connections whose tokens are revoked are told so, and end (design section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from wscore.codes import ErrorCode
from wscore.disconnects import TOKEN_REVOKED
from wscore.revocations import Revocation, Revocations, RevokedEntry, entry_of
from wsserver.brokers.base import Broker
from wsserver.brokers.revoked import RevocationsFullError
from wsserver.connections.delivery import Delivery
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog

LOOKED_AT_ONCE: Final = 500  # connections in one turn of the event loop: a millisecond of its time
ENDED_AT_ONCE: Final = 25


class Revoking:
    """Has tokens revoked in every process, and looks at all connections here then, a few in each turn of the loop.

    Newcomers and refreshed tokens are held against `revocations` where they are authenticated.
    """

    __slots__ = (
        "_broker",
        "_call_soon",
        "_clock",
        "_connections",
        "_delivery",
        "_is_wider",
        "_lead_ms",
        "_left",
        "_log",
        "_sender",
        "revocations",
    )

    def __init__(
        self,
        revocations: Revocations,
        broker: Broker,
        connections: ConnectionManager,
        sender: EnvelopeSender,
        delivery: Delivery,
        call_soon: Callable[..., Any],
        clock: Clock,
        log: EventLog,
    ) -> None:
        self.revocations = revocations
        self._broker = broker
        self._connections = connections
        self._sender = sender
        self._delivery = delivery
        self._call_soon = call_soon
        self._clock = clock
        self._lead_ms = clock.now_ms() - clock.now_s() * 1000
        self._left: list[Connection] = []
        self._is_wider = False  # than when those were gathered that are looked at
        self._log = log
        broker.attach_revoked(self.take, revocations.entries)

    async def revoke(self, revocation: Revocation) -> tuple[RevokedEntry, int]:
        """Revoke here, and give it to all processes; returns what that is, and until when, in ms since the epoch.

        Raises ValueError and NotRevokedError, and has done nothing here then.
        """
        now_ms = self._clock.now_ms()
        entry = entry_of(revocation, now_ms)
        if not self.revocations.has_room_for(entry):
            raise RevocationsFullError
        await self._broker.revoke(entry)
        self.take((entry,))
        expires_at_ms = revocation.expires_at(now_ms)
        named = {"user": revocation.user_id, "jti": revocation.jti, "issued_before_ms": revocation.issued_before_ms}
        fields = {name: value for name, value in named.items() if value is not None}
        self._log.info("tokens.revoked", **fields, expires_at_ms=expires_at_ms)
        return entry, expires_at_ms

    def take(self, entries: Sequence[RevokedEntry]) -> None:
        """Revoke, for who comes at once, and for who is connected within the next turns."""
        if self.revocations.add(entries):
            self._is_wider = True
            if not self._left:
                self._begin()

    def check(self) -> None:
        """Forget what needs no revocation any more; called every now and then.

        A wall clock that was set ahead, and is set back, makes good tokens of those that had expired meanwhile: so the
        time that has really gone by since the start counts as well.
        """
        now_ms = int(self._clock.now_s() * 1000 + self._lead_ms)
        self.revocations.expire(min(now_ms, self._clock.now_ms()))

    def _begin(self) -> None:
        self._is_wider = False
        self._left.extend(self._connections.all())
        if self._left:
            self._call_soon(self._look)

    def _look(self) -> None:
        ended = 0
        for _ in range(min(LOOKED_AT_ONCE, len(self._left))):
            connection = self._left.pop()
            if connection.is_open and self.revocations.is_revoked(connection.principal):
                self._sender.error(connection, ErrorCode.AUTH_INVALID, TOKEN_REVOKED.reason)
                self._delivery.close(connection, TOKEN_REVOKED)
                ended += 1
                if ended == ENDED_AT_ONCE:
                    break
        if self._left:
            self._call_soon(self._look)
        elif self._is_wider:
            self._begin()

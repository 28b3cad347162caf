"""Connections between accept() and the end of their handshake: how many may wait, how long, and how fast they come."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from wscore.ratelimit import Rate, TokenBucket
from wsserver.engines.networks import client_key
from wsserver.telemetry.metrics import Metrics, PendingDrop

FILES_SHARE: Final = 2  # pending connections may have every second
_FEW_ADDRESSES: Final = 1024  # below so many there is no need to forget those that have been quiet


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """Upper bounds for connections without a finished handshake, and for new ones; None means unlimited.

    `per_ip` and `rate` count by client: an IPv6 address by its /64.
    """

    total: int | None = None
    per_ip: int | None = None
    rate: Rate | None = None

    def within(self, files: int | None) -> PendingLimits:
        """Leave half of the `files` that may be open to connections: a pending one costs nobody a token."""
        if self.total is None or files is None:
            return self
        return replace(self, total=max(1, min(self.total, files // FILES_SHARE)))


class Waiting(Protocol):
    """A pending connection, as `Pending` knows it."""

    client: str | None
    deadline_s: float

    def drop(self) -> None:
        """End it, without an answer."""


class Pending:
    """Counts pending connections; where there are too many the oldest is dropped, since it had the most time.

    `now_s` is monotonic seconds, for the rate; time-outs go by the event loop's clock.
    """

    __slots__ = (
        "_by_client",
        "_dropped",
        "_limits",
        "_loop",
        "_now_s",
        "_prune_at",
        "_rates",
        "_timeout_s",
        "_timer",
        "_waiters",
        "_waiting",
    )

    def __init__(self, limits: PendingLimits, timeout_s: float, metrics: Metrics, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._timeout_s = timeout_s
        self._dropped = metrics.pending_dropped
        self._now_s = now_s
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()  # the oldest first
        self._by_client: dict[str, OrderedDict[Waiting, None]] = {}
        self._rates: dict[str, TokenBucket] = {}
        self._prune_at = _FEW_ADDRESSES
        self._waiters: list[asyncio.Event] = []
        self._timer: asyncio.TimerHandle | None = None  # one for all: they all have the same time

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, waiting: Waiting) -> None:
        """Count a connection that was just accepted, and let its time begin."""
        waiting.deadline_s = self._loop.time() + self._timeout_s
        self._waiting[waiting] = None
        if self._limits.total is not None and len(self._waiting) > self._limits.total:
            self._drop(next(iter(self._waiting)))
        if self._timer is None:
            self._timer = self._loop.call_at(waiting.deadline_s, self._expire)

    def identify(self, waiting: Waiting, ip: str | None) -> bool:
        """Count it for its client as well, whose address is known now; returns whether it may go on.

        None is a peer on a Unix socket, for which no limit per address holds.
        """
        limits = self._limits
        if ip is None or (limits.rate is None and limits.per_ip is None):
            return True
        client = client_key(ip)
        if limits.rate is not None and not self._is_within_rate(client, limits.rate):
            self._dropped[PendingDrop.RATE].value += 1
            return False
        if limits.per_ip is not None:
            waiting.client = client
            siblings = self._by_client.setdefault(client, OrderedDict())
            siblings[waiting] = None
            if len(siblings) > limits.per_ip:
                self._drop(next(iter(siblings)))
        return True

    def leave(self, waiting: Waiting) -> None:
        """Forget a connection that is pending no longer; one that is not known is left alone."""
        if self._waiting.pop(waiting, self) is self:
            return
        if not self._waiting and self._waiters:
            for event in self._waiters:
                event.set()
            self._waiters.clear()
        client = waiting.client
        if client is not None:
            siblings = self._by_client[client]
            del siblings[waiting]
            if not siblings:
                del self._by_client[client]

    async def wait_empty(self, within_s: float) -> None:
        """Wait until nobody is pending, and no longer than `within_s`."""
        if not self._waiting:
            return
        empty = asyncio.Event()
        self._waiters.append(empty)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await empty.wait()

    def make_room(self, grace_s: float) -> bool:
        """Drop all that have waited for longer than `grace_s`; returns whether there were any."""
        latest_s = self._loop.time() + self._timeout_s - grace_s
        before = len(self._waiting)
        while (oldest := next(iter(self._waiting), None)) is not None and oldest.deadline_s <= latest_s:
            self._drop(oldest)
        return len(self._waiting) < before

    def close(self) -> None:
        """Drop them all: the server has stopped."""
        while self._waiting:
            self._end(next(iter(self._waiting)))
        if self._timer is not None:
            self._timer.cancel()

    def _drop(self, waiting: Waiting) -> None:
        self._dropped[PendingDrop.CROWD].value += 1
        self._end(waiting)

    def _end(self, waiting: Waiting) -> None:
        self.leave(waiting)
        waiting.drop()

    def _expire(self) -> None:
        now_s = self._loop.time()
        while (oldest := next(iter(self._waiting), None)) is not None and oldest.deadline_s <= now_s:
            self._dropped[PendingDrop.TIMEOUT].value += 1
            self._end(oldest)
        self._timer = None if oldest is None else self._loop.call_at(oldest.deadline_s, self._expire)

    def _is_within_rate(self, client: str, rate: Rate) -> bool:
        now_s = self._now_s()
        bucket = self._rates.get(client)
        if bucket is None:
            if len(self._rates) >= self._prune_at:
                self._rates = {key: bucket for key, bucket in self._rates.items() if not bucket.is_full(now_s)}
                self._prune_at = max(_FEW_ADDRESSES, 2 * len(self._rates))
            bucket = self._rates[client] = TokenBucket(rate, now_s)
        return bucket.take(1, now_s)

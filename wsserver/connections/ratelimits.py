"""How much one connection may send: messages and bytes per second, and when it is closed for going on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from wscore.ratelimit import Rate, TokenBucket


class Refusal(Enum):
    """What becomes of a message that is over the limit."""

    WARN = auto()  # drop it and answer RATE_LIMITED
    DROP = auto()  # drop it, and answer only if it has an id: its sender cannot tell otherwise which one it was
    CLOSE = auto()  # 1008


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """Limits for one connection; None means unlimited.

    Of messages without an id a connection is told at most once a second that it is limited. It is closed once it has
    had more than `max_refused` refused without a full second of peace between them, so it gets no more answers either.
    """

    messages: Rate | None = None
    octets: Rate | None = None
    max_refused: int = 100

    def limiter(self, now_s: float) -> RateLimiter | None:
        """Return the state for a new connection, or None when nothing is limited."""
        return RateLimiter(self, now_s) if self.messages or self.octets else None


class RateLimiter:
    """One connection's buckets and its record of refusals; times are monotonic seconds."""

    __slots__ = ("_bytes", "_max_refused", "_messages", "_refused", "_refused_at_s", "_told_at_s")

    def __init__(self, policy: RatePolicy, now_s: float) -> None:
        self._messages = TokenBucket(policy.messages, now_s) if policy.messages else None
        self._bytes = TokenBucket(policy.octets, now_s) if policy.octets else None
        self._max_refused = policy.max_refused
        self._refused = 0
        self._refused_at_s = self._told_at_s = now_s - 1

    def admits(self, size: int, now_s: float) -> bool:
        """Count one message of `size` bytes that arrived at `now_s`; returns whether it is within the limits."""
        # `TokenBucket.take` of both, written out: for each message two calls would cost more than what they do.
        bucket = self._messages
        if bucket is not None:
            full_at_s = bucket.full_at_s
            if full_at_s < now_s:
                full_at_s = now_s
            full_at_s += bucket.unit_s
            if full_at_s - now_s > bucket.fill_s:
                return False
            bucket.full_at_s = full_at_s
        bucket = self._bytes
        if bucket is not None:
            full_at_s = bucket.full_at_s
            if full_at_s < now_s:
                full_at_s = now_s
            full_at_s += size * bucket.unit_s
            if full_at_s - now_s > bucket.fill_s:
                return False
            bucket.full_at_s = full_at_s
        return True

    def retry_after_ms(self, size: int, now_s: float) -> int | None:
        """Return in how many ms a message of `size` bytes would be admitted, None if never: it is over the burst."""
        waits_s = [
            bucket.wait_s(amount, now_s)
            for bucket, amount in ((self._messages, 1), (self._bytes, size))
            if bucket is not None
        ]
        wait_s = max(waits_s, default=0.0)
        return None if math.isinf(wait_s) else math.ceil(wait_s * 1000)

    def refuse(self, now_s: float) -> Refusal:
        """Decide what becomes of a message that was not admitted."""
        self._refused = 1 if now_s - self._refused_at_s >= 1 else self._refused + 1
        self._refused_at_s = now_s
        if self._refused > self._max_refused:
            return Refusal.CLOSE
        if now_s - self._told_at_s >= 1:
            self._told_at_s = now_s
            return Refusal.WARN
        return Refusal.DROP

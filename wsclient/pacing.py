"""How fast messages go out: as the user asked, as the server's greeting allows, and slower once it refused some."""

from __future__ import annotations

from typing import Final

from wscore.payloads import Limits, RateLimit
from wscore.ratelimit import Rate, TokenBucket

# Of what the server allows: it counts at the arrival, and messages catch up with each other on their way.
_SHARE: Final = 0.9
# A server forgives what it refused after a second of peace, and closes whoever leaves it none.
PEACE_S: Final = 1.1
_FIRST_GAP_S: Final = 0.01
_LONGEST_GAP_S: Final = 0.25


class Pacer:
    """Says when the next message may go out. Times are monotonic seconds, sizes bytes.

    `per_second` is the user's wish. What the server's greeting allows is kept from the start if `heeds_limits`.
    """

    __slots__ = ("_buckets", "_by_user", "_gap_s", "_heeds_limits", "_may_send_s", "_slowed_at_s")

    def __init__(self, per_second: float | None, now_s: float, *, heeds_limits: bool = True) -> None:
        self._heeds_limits = heeds_limits
        self._by_user = None if per_second is None else TokenBucket(Rate(per_second, 1), now_s)
        self._buckets: list[tuple[TokenBucket, float, bool]] = []  # with its burst, and whether it counts bytes
        self._gap_s = 0.0
        self._may_send_s = self._slowed_at_s = now_s

    def greeted(self, limits: Limits, now_s: float) -> None:
        """Keep within what a new connection may send."""
        self._buckets = [
            (TokenBucket(rate, now_s), rate.burst, is_bytes)
            for limit, is_bytes in ((limits.messages, False), (limits.bytes, True))
            if limit is not None and self._heeds_limits
            for rate in (_share(limit),)
        ]

    def wait_s(self, size: int, now_s: float, *, is_line: bool) -> float:
        """Return how long a message has to wait; only lines count for the user."""
        waits = [bucket.wait_s(min(size, burst) if is_bytes else 1, now_s) for bucket, burst, is_bytes in self._buckets]
        if is_line and self._by_user is not None:
            waits.append(self._by_user.wait_s(1, now_s))
        return max(self._may_send_s - now_s, *waits, 0.0)

    def sent(self, size: int, now_s: float, *, is_line: bool) -> None:
        """Count a message that goes out."""
        self._may_send_s = max(self._may_send_s, now_s + self._gap_s)
        for bucket, burst, is_bytes in self._buckets:
            bucket.take(min(size, burst) if is_bytes else 1, now_s)
        if is_line and self._by_user is not None:
            self._by_user.take(1, now_s)

    def refused(self, sent_at_s: float, retry_after_s: float, now_s: float) -> None:
        """Slow down: what was sent at `sent_at_s` was too much; those that were under way with it say nothing new."""
        self._may_send_s = max(self._may_send_s, now_s + max(retry_after_s, PEACE_S))
        if sent_at_s >= self._slowed_at_s:
            self._slowed_at_s = now_s
            self._gap_s = min(_LONGEST_GAP_S, max(retry_after_s, 2 * self._gap_s, _FIRST_GAP_S))

    def hold(self, until_s: float) -> None:
        """Send nothing until then."""
        self._may_send_s = max(self._may_send_s, until_s)

    def passed(self) -> None:
        """Go a little faster again: what was sent last was taken."""
        self._gap_s = self._gap_s * _SHARE if self._gap_s > _FIRST_GAP_S / 2 else 0.0


def _share(limit: RateLimit) -> Rate:
    return Rate(limit.per_second * _SHARE, max(1.0, limit.burst * _SHARE))

"""Heartbeat rules as pure functions of a given time (design section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wscore.errors import ConfigError

STALL_MS: Final = 500


@dataclass(frozen=True, slots=True)
class HeartbeatPolicy:
    """Ping every `interval_ms`; a peer silent for more than `timeout_ms` is gone. Times are monotonic ms."""

    interval_ms: int = 25_000
    timeout_ms: int = 60_000

    def __post_init__(self) -> None:
        if self.interval_ms <= 0:
            raise ConfigError("--heartbeat-interval", "must be more than 0")
        if self.timeout_ms <= self.interval_ms:
            raise ConfigError("--heartbeat-timeout", "must be longer than --heartbeat-interval")

    def deadline_ms(self, last_seen_ms: float) -> float:
        """Return when a peer last heard at `last_seen_ms` counts as gone."""
        return last_seen_ms + self.timeout_ms

    def is_gone(self, last_seen_ms: float, now_ms: float) -> bool:
        """Tell whether the peer has been silent for longer than the timeout, as in the seed (`>`)."""
        return now_ms > self.deadline_ms(last_seen_ms)


def loop_stalled(expected_ms: float, now_ms: float) -> bool:
    """Tell whether a timer fired so late that its loop must have stood still, and inbound data may wait unread."""
    return now_ms - expected_ms > STALL_MS

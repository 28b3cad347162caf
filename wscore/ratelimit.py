"""Token bucket: a rate with a burst, as a pure function of a given time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` units on average, `burst` units at once."""

    per_second: float
    burst: float


class TokenBucket:
    """Starts full; `now_s` is monotonic seconds and must not go back."""

    __slots__ = ("_level", "_rate", "_updated_s")

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._level = rate.burst
        self._updated_s = now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Take `amount` units if they are there; returns whether they were."""
        rate = self._rate
        level = min(rate.burst, self._level + (now_s - self._updated_s) * rate.per_second)
        self._updated_s = now_s
        if level < amount:
            self._level = level
            return False
        self._level = level - amount
        return True

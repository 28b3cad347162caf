"""Token bucket: a rate with a burst, as a pure function of a given time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_ROUNDING: Final = 1e-3  # units; sums of floats must not cost anybody the last unit of a burst


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` units on average, `burst` units at once."""

    per_second: float
    burst: float


class TokenBucket:
    """Starts full; `now_s` is monotonic seconds and must not go back.

    One number holds its state, the time when it will be full again (the generic cell rate algorithm): every
    message asks, so there is no level to refill first. A unit takes `unit_s` to come back, an empty bucket `fill_s`.
    """

    __slots__ = ("fill_s", "full_at_s", "unit_s")

    def __init__(self, rate: Rate, now_s: float) -> None:
        self.unit_s = 1 / rate.per_second
        self.fill_s = (rate.burst + _ROUNDING) * self.unit_s
        self.full_at_s = now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Take `amount` units if they are there; returns whether they were."""
        full_at_s = self.full_at_s
        if full_at_s < now_s:
            full_at_s = now_s
        full_at_s += amount * self.unit_s
        if full_at_s - now_s > self.fill_s:
            return False
        self.full_at_s = full_at_s
        return True

    def wait_s(self, amount: float, now_s: float) -> float:
        """Return in how many seconds `amount` units will be there, infinity if a burst never has so many."""
        if amount * self.unit_s > self.fill_s:
            return math.inf
        return max(0.0, max(self.full_at_s, now_s) + amount * self.unit_s - self.fill_s - now_s)

    def is_full(self, now_s: float) -> bool:
        """Tell whether it is as a new one would be."""
        return self.full_at_s <= now_s

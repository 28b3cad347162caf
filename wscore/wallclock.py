"""The wall clock: the core has none, so whoever starts something hands this one in, and tests hand in another."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return ms since the epoch."""
    return time.time_ns() // 1_000_000

"""The wall clock of the commands that mint or read tokens."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return ms since the epoch."""
    return time.time_ns() // 1_000_000

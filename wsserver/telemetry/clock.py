"""The two clocks of a server, as functions, so that tests can turn them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from wscore.wallclock import now_ms


@dataclass(frozen=True, slots=True)
class Clock:
    """`now_ms` is wall-clock ms since the epoch, for the wire; `now_s` is monotonic seconds, for liveness."""

    now_ms: Callable[[], int] = now_ms
    now_s: Callable[[], float] = time.monotonic

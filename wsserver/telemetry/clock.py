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


class TurnClock:
    """The monotonic time in seconds, read once a turn of the event loop; `call_soon` runs a function at its end."""

    __slots__ = ("_call_soon", "_is_read", "_now_s", "_read_s")

    def __init__(self, now_s: Callable[[], float], call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._now_s = now_s
        self._call_soon = call_soon
        self._read_s = 0.0
        self._is_read = False

    def now_s(self) -> float:
        """Return the time of this turn."""
        if not self._is_read:
            self._is_read = True
            self._read_s = self._now_s()
            self._call_soon(self._end_turn)
        return self._read_s

    def _end_turn(self) -> None:
        self._is_read = False

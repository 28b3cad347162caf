"""A clock that a test moves: timers, sleeps and time-outs of the whole event loop come due without waiting."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context as ContextVars
from typing import Any, Final

from wsserver.telemetry.clock import Clock

# For what is due to run, and for what it has sent to reach clients in this loop and to be answered.
_TURNS: Final = 8
_SHORTEST_STEP_S: Final = 0.01
_STEPS: Final = 2000  # at most, however far it is moved


class MovableClock:
    """The time of the running event loop, which goes on by itself and can be moved ahead, until `restore`.

    It takes asyncio's own event loop; for another one, such as uvloop's, it raises RuntimeError.
    """

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._loop = loop
        self._real_now_s: Callable[[], float] = loop.time
        self._real_call_at = loop.call_at
        self._ahead_s = 0.0
        self._due: list[float] = []
        started_ms, started_s = Clock().now_ms(), self.now_s()
        self.clock = Clock(lambda: started_ms + int((self.now_s() - started_s) * 1000), self.now_s)
        try:
            loop.time, loop.call_at = self.now_s, self._call_at
        except AttributeError:
            raise RuntimeError(f"the time of {type(loop).__module__} cannot be moved: use asyncio's own loop") from None

    def now_s(self) -> float:
        """Return the time of the event loop, in seconds."""
        return self._real_now_s() + self._ahead_s

    async def advance(self, seconds: float) -> None:
        """Move the time ahead. What comes due on the way runs in its order, at its time."""
        end_s = self.now_s() + seconds
        step_s = max(_SHORTEST_STEP_S, seconds / _STEPS)
        while (now_s := self.now_s()) < end_s:
            next_s = min(max(now_s + step_s, self._next_due_s(now_s)), end_s)
            self._ahead_s += next_s - now_s
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def restore(self) -> None:
        """Give the event loop its own time back."""
        self._loop.time, self._loop.call_at = self._real_now_s, self._real_call_at

    def _next_due_s(self, now_s: float) -> float:
        while self._due and self._due[0] <= now_s:
            heapq.heappop(self._due)
        return self._due[0] if self._due else float("inf")

    def _call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: ContextVars | None = None
    ) -> asyncio.TimerHandle:
        heapq.heappush(self._due, when)
        handle: asyncio.TimerHandle = self._real_call_at(when, callback, *args, context=context)
        return handle

"""The one stretch of time in which a server ends: who has it until when, and what is left behind when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from wscore.errors import WsctlError
from wscore.units import format_duration

# Until when each of them has time, as a share of the budget; what one does not need the next ones have.
GOODBYE: Final = 0.6  # clients answer their close frame, handlers end by themselves
HANDLERS: Final = 0.75  # handlers that were cancelled clean up
BACKGROUND: Final = 0.85  # so do background tasks
LIFESPANS: Final = 0.95  # what follows a lifespan's yield; then it is cancelled
ALL: Final = 1.0


class AbandonedError(WsctlError):
    """Code of the app did not end in time though it was cancelled, and still runs; the rest of the server has ended."""

    def __init__(self, what: tuple[str, ...], budget_ms: int) -> None:
        super().__init__(what, budget_ms)
        self.what = what
        self.budget_ms = budget_ms

    def __str__(self) -> str:
        return (
            f"APP: did not end within --drain-timeout ({format_duration(self.budget_ms)}) and was left behind: "
            f"{', '.join(self.what)}; let asyncio.CancelledError pass"
        )


class Budget:
    """The time that an end may take in all, in seconds of the running loop's clock."""

    __slots__ = ("_now_s", "_start_s", "_total_s")

    def __init__(self, total_s: float) -> None:
        self._now_s = asyncio.get_running_loop().time
        self._start_s = self._now_s()
        self._total_s = total_s

    def left_s(self, share: float) -> float:
        """Return how long it is until a share of it is used up, never less than 0."""
        return max(0.0, self._start_s + self._total_s * share - self._now_s())

    def cut(self, total_s: float) -> None:
        """Begin anew, with no more than this."""
        self._start_s = self._now_s()
        self._total_s = min(total_s, self._total_s)


async def within(timeout_s: float, *waits: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them side by side, at most `timeout_s`."""
    tasks = [asyncio.get_running_loop().create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s)
    finally:
        for task in tasks:
            task.cancel()

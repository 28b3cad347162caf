"""One answer for all who ask the same at the same time: who asks side by side costs no more than one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Makes an answer, one at a time; whoever asks while one is made gets the next, which is begun after it asked."""

    __slots__ = ("_make", "_next", "_running")

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return an answer that was begun after this was asked for; raises what making it raises."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._take_turn(self._running))
            self._next.add_done_callback(_heed)
        return await asyncio.shield(self._next)  # one that leaves takes it from nobody else

    async def _take_turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait((before,))
        self._running, self._next = self._next, None
        try:
            return await self._make()
        finally:
            if self._next is None:
                self._running = None


def _heed(task: asyncio.Task[T]) -> None:
    """Take a failure down as known: whoever waited for it may be gone."""
    if not task.cancelled():
        task.exception()

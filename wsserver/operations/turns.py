"""A few at a time, and a line of those who wait that ends somewhere: what is asked side by side stalls nobody."""

from __future__ import annotations

import asyncio
from typing import Final

from wscore.operations import ApiErrorCode
from wsserver.operations.problems import ApiError

MAX_WAITING: Final = 32


class Turns:
    """Lets so many through at once; `async with` it raises ApiError if too many wait already."""

    __slots__ = ("_places", "_waiting")

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise ApiError(ApiErrorCode.BUSY, "Too many look at a time; try it again.")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *failure: object) -> None:
        self._places.release()

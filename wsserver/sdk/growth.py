"""What messages take more once they are decoded: a list of a million empty lists is 22 times as large as its JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from wsserver.outbound.memory import Held

# What grows by less does so at once: an app that handles many messages at a time shall not wait for trifles.
GROWS_MUCH: Final = 64 << 10
GROWS_FROM: Final = GROWS_MUCH // 40  # JSON that is shorter cannot grow so much


def growth_of(data: bytes) -> int:
    """Return about how many bytes more JSON takes once it is decoded, if they are many, else 0."""
    parts = 240 * data.count(b"{") + 64 * data.count(b"[") + 56 * data.count(b",")
    if b"\xf0" in data or b"\\u" in data:
        parts += 3 * len(data)  # one emoji makes four bytes of each character
    elif not data.isascii():
        parts += len(data)
    return parts if parts >= GROWS_MUCH else 0


class Growth(Held):
    """Lets messages grow in turn, as many as there is room for; one alone always may."""

    __slots__ = ("_limit", "_waiting", "peak", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = self.peak = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int) -> None:
        """Wait until there is room for so many bytes; `leave` gives them back."""
        if not self._waiting and self._has_room(size):
            self.rise(size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """Give back what `enter` took."""
        self.used -= size
        while self._waiting and self._has_room(self._waiting[0][0]):
            next_size, turn = self._waiting.popleft()
            if not turn.done():
                self.rise(next_size)
                turn.set_result(None)

    def _has_room(self, size: int) -> bool:
        return not self.used or self.used + size <= self._limit

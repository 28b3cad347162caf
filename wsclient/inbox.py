"""Inbound envelopes that nobody has taken yet: bounded, in order, and searchable by type."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from wscore.envelope import Envelope

MAX_BYTES: Final = 64 << 20  # of data in all; a server's largest message goes in all the same

# An envelope and its number; of each message one is made, so it is a plain tuple.
_Numbered = tuple[int, Envelope]


class _Taker(Struct, frozen=True, eq=False):
    """Somebody who waits, for any envelope or for one of a type."""

    type: str | None
    arrival: asyncio.Future[_Numbered]


class Inbox:
    """Holds up to `limit` envelopes, and MAX_BYTES; beyond that the connection is not read: TCP holds the server back.

    While somebody waits for what is not among them it takes more, since waiting would never end.
    """

    __slots__ = ("_arrivals", "_bytes", "_count", "_end", "_limit", "_room", "_seekers", "_takers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrivals: deque[_Numbered] = deque()
        self._bytes = self._count = 0
        self._takers: list[_Taker] = []
        self._seekers = 0
        self._room = asyncio.Event()
        self._end: Exception | None = None

    async def put(self, envelope: Envelope) -> None:
        """Hand an envelope to the first who waits for it, else keep it, when there is room."""
        while not self.offer(envelope):
            self._room.clear()
            await self._room.wait()

    def offer(self, envelope: Envelope) -> bool:
        """Do what `put` does if there is room now; returns whether there was."""
        takers = self._takers
        if not takers and not self._seekers and (len(self._arrivals) >= self._limit or self._bytes >= MAX_BYTES):
            return False
        self._count += 1
        arrival = (self._count, envelope)
        for taker in takers:
            if taker.type in (None, envelope.type) and not taker.arrival.done():
                taker.arrival.set_result(arrival)
                return True
        self._arrivals.append(arrival)
        self._bytes += len(envelope.data)
        return True

    async def take(self, type: str | None = None) -> Envelope:
        """Return the oldest envelope, of a type if one is given; the others stay.

        Raises the exception that `end` was given, once nothing fitting is left.
        """
        for index, (_, envelope) in enumerate(self._arrivals):
            if type in (None, envelope.type):
                del self._arrivals[index]
                self._bytes -= len(envelope.data)
                self._room.set()
                return envelope
        if self._end is not None:
            raise self._end
        taker = _Taker(type, asyncio.get_running_loop().create_future())
        self._takers.append(taker)
        self._room.set()
        try:
            return (await taker.arrival)[1]
        except asyncio.CancelledError:
            self._put_back(taker.arrival)
            raise
        finally:
            self._takers.remove(taker)

    @contextmanager
    def seeking(self) -> Iterator[None]:
        """Take more than the limit meanwhile: what is waited for may stand behind it."""
        self._seekers += 1
        self._room.set()
        try:
            yield
        finally:
            self._seekers -= 1

    def end(self, error: Exception) -> None:
        """Let waiters know that nothing more will come; the first reason counts."""
        if self._end is not None:
            return
        self._end = error
        for taker in self._takers:
            if not taker.arrival.done():
                taker.arrival.set_exception(error)

    def _put_back(self, arrival: asyncio.Future[_Numbered]) -> None:
        """Keep what came in the very moment in which its taker was cancelled, where it stood."""
        if arrival.done() and not arrival.cancelled() and arrival.exception() is None:
            insort(self._arrivals, arrival.result(), key=lambda item: item[0])
            self._bytes += len(arrival.result()[1].data)

"""Inbound envelopes that nobody has taken yet: bounded, in order, and searchable by type."""

from __future__ import annotations

import asyncio
from collections import deque

from wscore.envelope import Envelope


class Inbox:
    """Holds up to `limit` envelopes; beyond that the connection is not read, so TCP holds the server back.

    While somebody waits for a type that is not among them it takes more, since waiting would never end.
    """

    __slots__ = ("_changed", "_end", "_envelopes", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._envelopes: deque[Envelope] = deque()
        self._changed = asyncio.Condition()
        self._waiting = 0
        self._end: Exception | None = None

    async def put(self, envelope: Envelope) -> None:
        """Add an envelope, when there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._envelopes) < self._limit or self._waiting > 0)
            self._envelopes.append(envelope)
            self._changed.notify_all()

    async def take(self, type: str | None = None) -> Envelope:
        """Return the oldest envelope, of a type if one is given; the others stay.

        Raises the exception that `end` was given, once nothing fitting is left.
        """
        async with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            try:
                while True:
                    for index, envelope in enumerate(self._envelopes):
                        if type is None or envelope.type == type:
                            del self._envelopes[index]
                            self._changed.notify_all()
                            return envelope
                    if self._end is not None:
                        raise self._end
                    await self._changed.wait()
            finally:
                self._waiting -= 1

    async def end(self, error: Exception) -> None:
        """Let waiters know that nothing more will come."""
        async with self._changed:
            self._end = error
            self._changed.notify_all()

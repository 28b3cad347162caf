"""Whose turn it is to be asked about: so many at once in all and from one address, the others wait in their order."""

from __future__ import annotations

import asyncio

from wsserver.engines.networks import client_key


class _Line:
    """The clients from one address; `count` are those that wait and those whose turn it is."""

    __slots__ = ("count", "turns")

    def __init__(self, turns: int) -> None:
        self.count = 0
        self.turns = asyncio.Semaphore(turns)


class QuestionTurns:
    """Gives `in_all` turns at once, and at most `per_address` of them to one; of IPv6 a /64 is one.

    A client without an address came by a Unix socket: it counts in all alone. `taken` are those that have a turn.
    """

    __slots__ = ("_lines", "_per_address", "_turns", "taken")

    def __init__(self, in_all: int, per_address: int) -> None:
        self._turns = asyncio.Semaphore(in_all)
        self._per_address = per_address
        self._lines: dict[str, _Line] = {}
        self.taken = 0

    def of_address(self, address: str | None) -> int:
        """Return how many clients of an address wait or have a turn."""
        line = None if address is None else self._lines.get(client_key(address))
        return 0 if line is None else line.count

    async def enter(self, address: str | None) -> None:
        """Wait for a turn; `leave` ends it."""
        line = None if address is None else self._join(client_key(address))
        try:
            if line is not None:
                await line.turns.acquire()
            try:
                await self._turns.acquire()
            except BaseException:
                if line is not None:
                    line.turns.release()
                raise
        except BaseException:
            self._part(address)
            raise
        self.taken += 1

    def leave(self, address: str | None) -> None:
        """End a turn."""
        self.taken -= 1
        self._turns.release()
        if address is not None:
            self._lines[client_key(address)].turns.release()
            self._part(address)

    def _join(self, key: str) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self._per_address)
        line.count += 1
        return line

    def _part(self, address: str | None) -> None:
        if address is None:
            return
        key = client_key(address)
        line = self._lines[key]
        line.count -= 1
        if not line.count:
            del self._lines[key]

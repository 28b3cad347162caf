"""When messages are due in the open model: a fixed timetable that no slow target can stretch."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from loadtest.generator.connections import monotonic_ns
from loadtest.generator.traffic import Traffic

LATE_NS: Final = 10_000_000
BATCH: Final = 200  # after so many sends what came in is read


class Timetable:
    """Message number m of the run is due at the start plus m / rate, and is sender m modulo `senders`.

    This process takes those of its own senders. What is due while a sender is not connected is not sent; it counts as
    unsent if the sender had failed or was lost.
    """

    def __init__(self, traffic: Traffic, rate: float, send: Callable[[Any, int], None]) -> None:
        self._traffic = traffic
        self._rate = rate
        self._send = send
        self._handle: asyncio.Handle | None = None
        self._senders = 0
        self._own = 0
        self._count = 0

    def start(self, senders: int) -> None:
        """Begin, or begin anew, at the traffic's start."""
        if self._handle is not None:
            self._handle.cancel()
        traffic = self._traffic
        self._senders = senders
        self._own = len(range(traffic.position, senders, traffic.processes))
        self._count = 0
        if self._own:
            self._arm(self._due_ns())

    def backlog(self) -> int:
        """Return how many messages were due within the window and have not come up yet."""
        if not self._own:
            return 0
        end_ns = self._traffic.window_end_ns
        most = int((end_ns - self._traffic.start_ns) * self._rate / 1e9) + 2
        return max(0, bisect_left(range(most), end_ns, key=self._due_ns) - self._count)

    def _due_ns(self, count: int | None = None) -> int:
        traffic = self._traffic
        turn, slot = divmod(self._count if count is None else count, self._own)
        number = turn * self._senders + slot * traffic.processes + traffic.position
        return traffic.start_ns + int(number * 1e9 / self._rate)

    def _arm(self, due_ns: int) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_at(loop.time() + (due_ns - monotonic_ns()) / 1e9, self._tick)

    def _tick(self) -> None:
        traffic = self._traffic
        slots, send = traffic.slots, self._send
        due_ns = self._due_ns()
        for _ in range(BATCH):
            if due_ns >= traffic.window_end_ns:
                return
            now = monotonic_ns()
            if due_ns > now:
                self._arm(due_ns)
                return
            slot = self._count % self._own
            connection = slots[slot] if slot < len(slots) else None
            if connection is not None and connection.left_ns == 0 and connection.joined_ns <= due_ns:
                if now - due_ns > LATE_NS and due_ns >= traffic.window_start_ns:
                    traffic.counts.late_sends += 1
                send(connection, due_ns)
            elif slot in traffic.away and due_ns >= traffic.window_start_ns:
                traffic.counts.unsent += 1
            self._count += 1
            due_ns = self._due_ns()
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

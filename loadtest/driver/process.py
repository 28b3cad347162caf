"""What one process that drives consists of: its loop, traffic, self-check and rows in Locust's table."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.locusttable import LocustTable
from loadtest.driver.measureduser import MeasuredUser
from loadtest.driver.users import ConnectionUser
from loadtest.generator.dialing import Dialer
from loadtest.generator.messages import Command, Part, Snapshot
from loadtest.generator.selfcheck import SelfCheck
from loadtest.generator.usertraffic import UserTraffic
from loadtest.scenarios import SCENARIOS
from loadtest.wire import CONNECT, Plan

SLICE_S: Final = 0.0002
SHARE: Final = 0.1  # of a busy loop's time: it comes round too seldom for slices of that length


class LoadProcess:
    """Drives the connections that Locust spawns in this process."""

    def __init__(
        self,
        plan: Plan,
        loop: LoopGreenlet,
        stats: Any,
        *,
        position: int = 0,
        processes: int = 1,
        floor_us: float = 0.0,
    ) -> None:
        self._loop = loop
        dialer = Dialer.of(plan)
        self.traffic = SCENARIOS[plan.kind].traffic_of(plan)(plan, dialer, position=position, processes=processes)
        self._check = SelfCheck(self.traffic, floor_us)
        self._rows: dict[str, LocustTable] = {}
        if self.traffic.row:  # else its users report each of their steps themselves
            self._rows = {
                self.traffic.shown: LocustTable(stats, self.traffic.row),
                CONNECT: LocustTable(stats, "connect"),
            }
        self._shown_errors: dict[str, int] = {}
        self._watch = loop.spawn(self._check.run())
        ConnectionUser.traffic, ConnectionUser.loop = self.traffic, loop
        if isinstance(self.traffic, UserTraffic):
            MeasuredUser.serve(self.traffic, loop)

    def apply(self, command: Command) -> None:
        """Do what the controller says."""
        self.traffic.apply(command)
        self._loop.wake()

    def snapshot(self) -> Snapshot:
        """Return the state of this moment; called once a second."""
        return self._loop.run(self._snapshot())

    async def _snapshot(self) -> Snapshot:
        traffic = self.traffic
        snapshot = Snapshot(traffic.counts.copy())
        budget_s = SLICE_S
        began = time.monotonic()
        for _ in traffic.measurements.fold(traffic.shown, snapshot, self._on_new):
            if (paused := time.monotonic()) - began > budget_s:
                await asyncio.sleep(0)  # between two slices the traffic goes on
                began = time.monotonic()
                budget_s = max(SLICE_S, SHARE * (began - paused))
        for text, count in traffic.counts.errors.items():
            if self._rows and (more := count - self._shown_errors.get(text, 0)):
                self._rows[traffic.shown].fail(text, more)
        self._shown_errors = traffic.counts.errors.copy()
        snapshot.cpu_percent = self._check.cpu_percent()
        return snapshot

    def _on_new(self, name: str, latencies_us: dict[int, int]) -> None:
        if name in self._rows:
            self._rows[name].add(latencies_us)

    def part(self) -> Part:
        """Return what was measured here."""
        self._watch.cancel()
        part = self._loop.run(self._part())
        part.generator = self._check.result()
        return part

    async def _part(self) -> Part:
        return self.traffic.part()

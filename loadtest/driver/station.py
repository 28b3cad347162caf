"""What one process that drives consists of: its loop, traffic, self-check and rows in Locust's table."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from loadtest.driver.broadcast import BroadcastTraffic
from loadtest.driver.dialing import Dialer
from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.heartbeat import HeartbeatTraffic
from loadtest.driver.messages import Command, Part, Snapshot
from loadtest.driver.replay import ReplayTraffic
from loadtest.driver.selfcheck import SelfCheck
from loadtest.driver.tally import Table
from loadtest.driver.traffic import Traffic
from loadtest.driver.users import Connection
from loadtest.driver.voice import VoiceTraffic
from loadtest.wire import CONNECT, Kind, Plan

SLICE_S: Final = 0.0002
SHARE: Final = 0.1  # of a busy loop's time: it comes round too seldom for slices of that length

TRAFFIC: Final[dict[Kind, type[Traffic]]] = {
    Kind.BROADCAST: BroadcastTraffic,
    Kind.REPLAY: ReplayTraffic,
    Kind.VOICE: VoiceTraffic,
}


class Station:
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
        kind = TRAFFIC.get(plan.kind, HeartbeatTraffic)
        self.traffic = kind(plan, Dialer(plan), position=position, processes=processes)
        self._check = SelfCheck(self.traffic, floor_us)
        self._rows = {self.traffic.shown: Table(stats, self.traffic.row), CONNECT: Table(stats, "connect")}
        self._shown_errors: Counter[str] = Counter()
        self._watch = loop.spawn(self._check.run())
        Connection.traffic, Connection.loop = self.traffic, loop

    def apply(self, command: Command) -> None:
        """Do what the conductor says."""
        self.traffic.apply(command)
        self._loop.wake()

    def snapshot(self) -> Snapshot:
        """Return the state of this moment; called once a second."""
        return self._loop.run(self._snapshot())

    async def _snapshot(self) -> Snapshot:
        traffic = self.traffic
        snapshot = traffic.tally.snapshot()
        budget_s = SLICE_S
        began = time.monotonic()
        for _ in traffic.tally.fold(traffic.shown, self._rows, snapshot):
            if (paused := time.monotonic()) - began > budget_s:
                await asyncio.sleep(0)  # between two slices the traffic goes on
                began = time.monotonic()
                budget_s = max(SLICE_S, SHARE * (began - paused))
        for text, count in (traffic.tally.errors - self._shown_errors).items():
            self._rows[traffic.shown].fail(text, count)
        self._shown_errors = traffic.tally.errors.copy()
        snapshot.cpu_percent = self._check.cpu_percent()
        return snapshot

    def part(self) -> Part:
        """Return what was measured here."""
        self._watch.cancel()
        part = self._loop.run(self._part())
        part.generator = self._check.result()
        return part

    async def _part(self) -> Part:
        return self.traffic.part()

"""Whether the generator could do what the plan asked of it: processor, loop lag, descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import Counter
from typing import Final

from loadtest.generator.connections import monotonic_ns
from loadtest.generator.latencies import percentile
from loadtest.generator.traffic import Traffic
from loadtest.wire import Generator, Plan
from wscore.errors import WsctlError

TICK_S: Final = 0.01
SPARE_FILES: Final = 100


class LimitError(WsctlError):
    """This machine does not allow what the plan asks for."""

    def __init__(self, connections: int, limit: int) -> None:
        super().__init__(connections, limit)
        self.connections = connections
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.connections} connections a process need {self.connections + SPARE_FILES} open files, "
            f"but the limit is {self.limit}: raise it with ulimit -n, or use more processes"
        )


def allow_files(plan: Plan) -> int:
    """Raise the soft limit of open files to the hard one and return it; raises LimitError if it is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    processes = max(plan.processes, plan.expected_workers, 1)
    connections = -(-plan.connections // processes)
    if plan.worker_of is None and plan.master_port is None and connections + SPARE_FILES > hard:
        raise LimitError(connections, hard)
    return hard


class SelfCheck:
    """Watches the process from within its event loop, during the window."""

    def __init__(self, traffic: Traffic, receive_floor_us: float) -> None:
        self._traffic = traffic
        self._receive_floor_us = receive_floor_us
        self._lags_us: Counter[int] = Counter()
        self._from: tuple[float, float] | None = None
        self._to: tuple[float, float] | None = None
        self._last = (time.monotonic(), time.process_time())

    async def run(self) -> None:
        """Watch until it is cancelled."""
        loop = asyncio.get_running_loop()
        traffic = self._traffic
        while True:
            wake_at = loop.time() + TICK_S
            now_ns = monotonic_ns()
            traffic.own_time.woke(now_ns, now_ns + int(TICK_S * 1e9))
            await asyncio.sleep(TICK_S)
            lag_s = loop.time() - wake_at
            if traffic.window_start_ns <= monotonic_ns() < traffic.window_end_ns:
                self._to = (time.monotonic(), time.process_time())
                self._from = self._from or self._to
                self._lags_us[int(lag_s * 1e6)] += 1

    def cpu_percent(self) -> float:
        """Return the share of a processor since the last call."""
        (then, used), self._last = self._last, (time.monotonic(), time.process_time())
        return _percent((then, used), self._last)

    def result(self) -> Generator:
        """Return how it went over the window."""
        return Generator(
            cpu_percent=_percent(self._from, self._to) if self._from and self._to else 0.0,
            lag_p99_us=percentile(self._lags_us, 0.99) or 0.0,
            lag_max_us=float(max(self._lags_us, default=0)),
            open_files=_open_files(),
            file_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            receive_floor_us=self._receive_floor_us,
            late_sends=self._traffic.counts.late_sends,
        )


def _percent(start: tuple[float, float], end: tuple[float, float]) -> float:
    wall_s = end[0] - start[0]
    return round(100 * (end[1] - start[1]) / wall_s, 1) if wall_s > 0 else 0.0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0

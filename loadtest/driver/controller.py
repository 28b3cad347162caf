"""The course of a run: ramp, window, drain, result; the same for one process and for many."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import msgspec

from loadtest.driver.processes import Processes
from loadtest.faults import FAULTS
from loadtest.generator.connections import monotonic_ns
from loadtest.generator.latencies import percentile
from loadtest.generator.memory import ServerMemory
from loadtest.generator.messages import Begin, Counts, DropConnections, Snapshot, Window
from loadtest.generator.results import Course, measured
from loadtest.generator.sofar import SoFar
from loadtest.scenarios import SCENARIOS
from loadtest.wire import LoadStage, Measured, Phase, Plan, RunProgress
from wscore.wallclock import now_ms

RAMP_STALL_S: Final = 15.0  # without a new connection, beside the ramp itself
LEAST_RAMP_S: Final = 0.05
STORM_TIMEOUT_S: Final = 60.0
GONE_S: Final = 3.0
STEP_S: Final = 0.02
COUNTED_FAULTS: Final = tuple(fault.field for fault in FAULTS if fault.field != "lost")
COUNTED_NS: Final = 2 * 10**9


class RunController:
    """Leads one run; `interrupt` ends it early. `answers` tells whether the target still takes a connection."""

    def __init__(
        self,
        plan: Plan,
        processes: Processes,
        runner: Any,
        memory: ServerMemory,
        answers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan = plan
        self._scenario = SCENARIOS[plan.kind]
        self._processes = processes
        self._runner = runner
        self._memory = memory
        self._answers = answers
        self._phase = Phase.RAMP
        self._wanted = 0
        self._spawning: Any = None
        self._interrupted = False
        self._settled = 0
        self._gone_since: float | None = None
        self._settled_at = time.monotonic()
        self._started_ns = monotonic_ns()
        self._reported_ns = self._started_ns
        self._last = Snapshot()
        self._so_far = SoFar()
        self._window = Window(0, 0)

    def interrupt(self) -> None:
        """End the run now, with what was measured."""
        self._interrupted = True

    @property
    def counts(self) -> Counts:
        """The counts of this moment."""
        return self._processes.peek()

    @property
    def is_interrupted(self) -> bool:
        """Whether it was ended early."""
        return self._interrupted

    def run(self) -> Measured | None:
        """Run it to its end; returns None if no connection came about or nothing was measured."""
        plan, processes = self._plan, self._processes
        self._started_ns = self._reported_ns = monotonic_ns()
        self._settled_at = time.monotonic()
        started_at_ms = now_ms()
        stages = plan.stages or (LoadStage(plan.connections, plan.duration_s),)
        processes.command(Begin(monotonic_ns() + processes.lead_ns, stages[0].connections))
        self._spawn(stages[0].connections)
        self._until(self._is_up)
        if self._interrupted or not processes.peek().opened:
            return None
        rss_before = self._memory.kib()
        start_ns = monotonic_ns() + processes.lead_ns
        self._set_window(start_ns, start_ns + int(sum(stage.seconds for stage in stages) * 1e9))
        self._phase = Phase.STEADY
        self._hold(stages, start_ns)
        self._phase = Phase.DRAIN
        rss_after = self._memory.kib()
        self._drain()
        course = Course(
            started_at_ms,
            self._started_ns,
            self._window,
            was_interrupted=self._interrupted,
            rss_kib=(rss_before, rss_after) if rss_before is not None and rss_after is not None else None,
            workers=processes.size,
            is_target_alive=self._is_target_gone() and self._answers(),
        )
        result = measured(plan, processes.parts(), course)
        self._phase = Phase.DONE
        self._report()
        return result

    def _spawn(self, connections: int) -> None:
        change = abs(connections - self._wanted)
        self._wanted = connections
        if self._spawning is not None:
            self._spawning.kill()
        if change:
            rate = max(1.0, change / max(self._plan.ramp_s, LEAST_RAMP_S))
            # A master's `start` comes back when all users are spawned.
            self._spawning = gevent.spawn(self._runner.start, connections, spawn_rate=rate)

    def _set_window(self, start_ns: int, end_ns: int) -> None:
        self._window = Window(start_ns, end_ns)
        self._processes.command(self._window)

    def _hold(self, stages: tuple[LoadStage, ...], start_ns: int) -> None:
        end_ns = start_ns
        for number, stage in enumerate(stages):
            if number and not self._is_over():
                self._spawn(stage.connections)
                self._processes.command(Begin(monotonic_ns() + self._processes.lead_ns, stage.connections))
            end_ns += int(stage.seconds * 1e9)
            self._until(lambda end=end_ns: monotonic_ns() >= end or self._is_over())  # type: ignore[misc]
        if self._reported_ns < start_ns and not self._is_over():  # a window that was too short for a report of its own
            self._report()
        if self._is_over():
            self._set_window(start_ns, max(start_ns, min(end_ns, monotonic_ns() + self._processes.lead_ns)))

    def _drain(self) -> None:
        plan, processes = self._plan, self._processes
        if self._scenario.storms and not self._is_over():
            at_ns = monotonic_ns() + processes.lead_ns
            processes.command(DropConnections(at_ns))
            self._until(lambda: monotonic_ns() > at_ns + processes.lead_ns + 10**9)
            self._until(lambda: not processes.peek().awaited or self._interrupted, timeout_s=STORM_TIMEOUT_S)
        if not self._is_target_gone():
            until_ns = self._window.end_ns + int(plan.drain_s * 1e9)
            # Answers may take long, so that is the most that callers wait; a second later every count is in.
            counted_ns = self._window.end_ns + COUNTED_NS if self._scenario.awaits_answers else until_ns
            self._until(lambda: monotonic_ns() >= (until_ns if processes.peek().awaited else min(until_ns, counted_ns)))

    def _is_up(self) -> bool:
        counts = self._processes.peek()
        now = time.monotonic()
        if counts.opened + counts.failed > self._settled:
            self._settled = counts.opened + counts.failed
            self._settled_at = now
        is_stuck = now - self._settled_at > self._plan.ramp_s + RAMP_STALL_S
        return self._settled >= self._wanted or is_stuck or self._is_over()

    def _is_over(self) -> bool:
        return self._interrupted or self._is_target_gone()

    def _is_target_gone(self) -> bool:
        counts = self._processes.peek()
        is_gone = counts.lost > 0 and counts.connected == 0 and not counts.awaited
        if not is_gone or self._phase is not Phase.RAMP:
            self._gone_since = None
            return is_gone
        # While connections still come, the next one may find it well: one hiccup does not end a run.
        self._gone_since = self._gone_since or time.monotonic()
        return time.monotonic() - self._gone_since > GONE_S or self._settled >= self._wanted

    def _until(self, condition: Callable[[], bool], timeout_s: float = float("inf")) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            gevent.sleep(STEP_S)
            if monotonic_ns() - self._reported_ns >= 10**9:
                self._report()

    def _report(self) -> None:
        now = monotonic_ns()
        seconds = (now - self._reported_ns) / 1e9
        self._reported_ns = now
        before, self._last = self._last, self._processes.snapshot()
        last = self._last
        rss_kib = self._memory.kib()
        figures = self._so_far.add(last.others, in_window=self._phase is Phase.STEADY)
        second = progress(self._phase, last, before, seconds, self._started_ns, self._wanted, rss_kib)
        write(msgspec.structs.replace(second, figures=figures))


def progress(
    phase: Phase,
    last: Snapshot,
    before: Snapshot,
    seconds: float,
    started_ns: int,
    wanted: int,
    rss_kib: int | None = None,
) -> RunProgress:
    """Return what happened between two snapshots."""
    now, earlier = last.counts, before.counts
    return RunProgress(
        elapsed_s=round((monotonic_ns() - started_ns) / 1e9, 2),
        phase=phase,
        connected=now.connected,
        wanted=wanted,
        sent=now.sent,
        received=now.received,
        errors=sum(now.errors.values()),
        sent_per_s=round((now.sent - earlier.sent) / seconds, 1),
        received_per_s=round((now.received - earlier.received) / seconds, 1),
        p50_us=percentile(last.latencies, 0.5),
        p99_us=percentile(last.latencies, 0.99),
        max_us=float(last.max_us) if last.latencies else None,
        server_rss_kib=rss_kib,
        cpu_percent=last.cpu_percent,
        lost=now.missing,
        failed_connections=now.failed,
        lost_connections=now.lost,
        missed_heartbeats=now.heartbeats_missed,
        **{name: now.faults.get(name, 0) for name in COUNTED_FAULTS},  # type: ignore[arg-type]
    )


def write(line: RunProgress | Measured) -> None:
    """Write one line for the command."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()

"""A process that drives for a master: Locust tells it what to spawn, the master's commands when to do what."""

from __future__ import annotations

import time
from typing import Any, Final

import gevent
import gevent.event
import gevent.queue
import msgspec

from loadtest.driver.controller import progress, write
from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.process import LoadProcess
from loadtest.driver.processes import TO_MASTER, TO_WORKERS, WorkerReport, decode_command
from loadtest.generator.clock import EXCHANGES, SAME, Offset, drifted, estimate, machine_id
from loadtest.generator.connections import monotonic_ns
from loadtest.generator.messages import Assign, Finish, Part, Snapshot, Time, Window
from loadtest.generator.results import Course, measured
from loadtest.wire import Phase, Plan
from wscore.wallclock import now_ms

REPORT_S: Final = 0.5
QUIT_TIMEOUT_S: Final = 20.0
CLOCK_TIMEOUT_S: Final = 2.0


class LoadWorker:
    """Works for one master; `own_plan` gives URL and tokens, the master all the rest."""

    def __init__(self, own_plan: Plan, loop: LoopGreenlet, environment: Any, floor_us: float) -> None:
        assert own_plan.worker_of is not None
        self._own_plan = own_plan
        self._loop = loop
        self._environment = environment
        self._floor_us = floor_us
        self._process: LoadProcess | None = None
        self._plan = own_plan
        self._offset = SAME
        self._window = Window(0, 0)
        self._is_interrupted = False
        self._finished = gevent.event.Event()
        self._times: Any = gevent.queue.Queue()
        self._started_ns = monotonic_ns()
        host, _, port = own_plan.worker_of.rpartition(":")
        self._runner = environment.create_worker_runner(host.strip("[]"), int(port))
        self._runner.register_message(TO_WORKERS, self._on_command, concurrent=True)

    def interrupt(self) -> None:
        """Leave the run now."""
        self._is_interrupted = True
        self._finished.set()

    def run(self) -> int:
        """Work until the master says it is over; returns the exit code."""
        self._report(WorkerReport(machine=machine_id()))
        before, last_report = Snapshot(), time.monotonic()
        while not self._finished.wait(REPORT_S):
            if self._process is None:
                continue
            snapshot = self._process.snapshot()
            self._report(WorkerReport(snapshot=snapshot))
            now = time.monotonic()
            write(
                progress(self._phase(), snapshot, before, now - last_report, self._started_ns, self._plan.connections)
            )
            before, last_report = snapshot, now
        if self._process is not None:
            self._give_part(self._process)
        if self._is_interrupted:
            self._runner.quit()
        deadline = time.monotonic() + QUIT_TIMEOUT_S
        while len(self._runner.greenlet) and time.monotonic() < deadline:
            gevent.sleep(0.02)
        return 0

    def _give_part(self, process: LoadProcess) -> None:
        part = process.part()
        if self._offset is not SAME:
            part.clock_uncertainty_us = drifted(self._offset, self._exchange()) / 1000
        self._report(WorkerReport(part=part))
        if self._window.end_ns:
            write(measured(self._plan, [part], self._course(part)))

    def _course(self, part: Part) -> Course:
        at_ms = now_ms() - (monotonic_ns() - self._started_ns) // 1_000_000
        started_ns = self._started_ns + self._offset.offset_ns
        return Course(at_ms, started_ns, self._window, was_interrupted=self._is_interrupted, rss_kib=None)

    def _on_command(self, msg: Any, **_: Any) -> None:
        command = decode_command(msg.data)
        match command:
            case Assign():
                self._begin(command)
            case Time():
                self._times.put(command)
            case Finish():
                self._finished.set()
            case _ if self._process is not None:
                if isinstance(command, Window):
                    self._window = command
                self._process.apply(command)

    def _begin(self, command: Assign) -> None:
        self._plan = msgspec.structs.replace(
            command.plan,
            url=self._own_plan.url,
            tokens=self._own_plan.tokens,
            headers=self._own_plan.headers,
            dialogue=self._own_plan.dialogue,
            script=self._own_plan.script,
            ca=self._own_plan.ca,
            insecure=self._own_plan.insecure,
            cert=self._own_plan.cert,
            key=self._own_plan.key,
            worker_of=self._own_plan.worker_of,
        )
        if command.machine != machine_id():
            self._offset = self._exchange()
        process = LoadProcess(
            self._plan,
            self._loop,
            self._environment.stats,
            position=command.position,
            processes=command.processes,
            floor_us=self._floor_us,
        )
        process.traffic.offset_ns = self._offset.offset_ns
        self._process = process
        self._report(WorkerReport(is_ready=True))

    def _exchange(self) -> Offset:
        """Ask the master for its clock, again and again; an answer that does not come says nothing."""
        exchanges = []
        for _ in range(EXCHANGES):
            sent = monotonic_ns()
            self._report(WorkerReport(asks_time=sent))
            answer = None
            with gevent.Timeout(CLOCK_TIMEOUT_S, False):
                while answer is None or answer.asked != sent:
                    answer = self._times.get()
            if answer is not None and answer.asked == sent:
                exchanges.append((sent, answer.now_ns, monotonic_ns()))
        return estimate(exchanges) if exchanges else self._offset

    def _phase(self) -> Phase:
        now = monotonic_ns() + self._offset.offset_ns
        if not self._window.end_ns or now < self._window.start_ns:
            return Phase.RAMP
        return Phase.STEADY if now < self._window.end_ns else Phase.DRAIN

    def _report(self, report: WorkerReport) -> None:
        self._runner.send_message(TO_MASTER, msgspec.msgpack.encode(report))

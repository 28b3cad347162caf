"""Who drives: this process itself, or workers that Locust's master runner talks to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import gevent
import msgspec

from loadtest.driver.process import LoadProcess
from loadtest.generator.clock import machine_id
from loadtest.generator.connections import monotonic_ns
from loadtest.generator.messages import Assign, Command, Counts, Finish, Part, Snapshot, Time
from loadtest.wire import Plan, Tokens

TO_WORKERS: Final = "wsctl-command"
TO_MASTER: Final = "wsctl-report"
PART_TIMEOUT_S: Final = 30.0
STEP_S: Final = 0.02


class Processes(Protocol):
    """All processes that drive one run."""

    lead_ns: int  # a command that names a time reaches all of them sooner than this
    size: int

    def command(self, command: Command) -> None:
        """Have all of them do it."""

    def peek(self) -> Counts:
        """Return the counts of all together."""

    def snapshot(self) -> Snapshot:
        """Return the counts of all together, with the latencies since the last call."""

    def parts(self) -> list[Part]:
        """Have them finish; returns what they measured. A process that is gone gives none."""


class OwnProcess:
    """This process alone."""

    lead_ns = 20_000_000
    size = 1

    def __init__(self, process: LoadProcess) -> None:
        self._process = process

    def command(self, command: Command) -> None:
        self._process.apply(command)

    def peek(self) -> Counts:
        return self._process.traffic.counts

    def snapshot(self) -> Snapshot:
        return self._process.snapshot()

    def parts(self) -> list[Part]:
        return [self._process.part()]


class WorkerReport(msgspec.Struct):
    """What a worker tells its master."""

    machine: str | None = None
    asks_time: int | None = None
    is_ready: bool = False
    snapshot: Snapshot | None = None
    part: Part | None = None


class LocustWorkers:
    """The workers of a Locust master."""

    lead_ns = 300_000_000

    def __init__(self, runner: Any, size: int) -> None:
        self.size = size
        self._runner = runner
        self._known: set[str] = set()
        self._ready: set[str] = set()
        self._latest: dict[str, Snapshot] = {}
        self._fresh: list[Snapshot] = []
        self._parts: dict[str, Part] = {}
        self._decode = msgspec.msgpack.Decoder(WorkerReport).decode
        runner.register_message(TO_MASTER, self._on_report)

    def gather(self, plan: Plan, goes_on: Callable[[], bool]) -> bool:
        """Wait for the workers and give each its share; tells whether all are ready."""
        while len(self._known) < self.size and goes_on():
            gevent.sleep(STEP_S)
        # No secret crosses the network: each worker has its own URL and tokens, and what it says.
        shared = msgspec.structs.replace(plan, url="", tokens=Tokens(), dialogue=None, web_port=None, master_port=None)
        workers = sorted(self._known)  # as EvenDispatcher sorts them
        for position, worker in enumerate(workers):
            self._send(Assign(shared, position, len(workers), machine_id()), worker)
        while len(self._ready) < self.size and goes_on():
            gevent.sleep(STEP_S)
        return len(self._ready) >= self.size

    def command(self, command: Command) -> None:
        self._send(command)

    def peek(self) -> Counts:
        total = Counts()
        for snapshot in self._latest.values():
            total.add(snapshot.counts)
        return total

    def snapshot(self) -> Snapshot:
        total = Snapshot(self.peek())
        total.cpu_percent = max((snapshot.cpu_percent for snapshot in self._latest.values()), default=0.0)
        fresh, self._fresh = self._fresh, []
        for snapshot in fresh:
            total.max_us = max(total.max_us, snapshot.max_us)
            for value, count in snapshot.latencies.items():
                total.latencies[value] = total.latencies.get(value, 0) + count
            for name, latencies in snapshot.others.items():
                together = total.others.setdefault(name, {})
                for value, count in latencies.items():
                    together[value] = together.get(value, 0) + count
        return total

    def parts(self) -> list[Part]:
        self._send(Finish())
        deadline = time.monotonic() + PART_TIMEOUT_S
        while len(self._parts) < min(self.size, self._runner.worker_count) and time.monotonic() < deadline:
            gevent.sleep(STEP_S)
        return list(self._parts.values())

    def _send(self, command: Command, worker: str | None = None) -> None:
        self._runner.send_message(TO_WORKERS, msgspec.msgpack.encode(command), client_id=worker)

    def _on_report(self, msg: Any, **_: Any) -> None:
        worker, report = msg.node_id, self._decode(msg.data)
        if report.machine is not None:
            self._known.add(worker)
        if report.asks_time is not None:
            self._send(Time(report.asks_time, monotonic_ns()), worker)
        if report.is_ready:
            self._ready.add(worker)
        if report.snapshot is not None:
            self._latest[worker] = report.snapshot
            self._fresh.append(report.snapshot)
        if report.part is not None:
            self._parts[worker] = report.part


_decoder: Final[msgspec.msgpack.Decoder[Command]] = msgspec.msgpack.Decoder(Command)


def decode_command(data: bytes) -> Command:
    """Read a command from the master."""
    return _decoder.decode(data)

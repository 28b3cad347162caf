"""Who drives: this process itself, or workers that Locust's master runner talks to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import gevent
import msgspec

from loadtest.driver.clock import machine_id
from loadtest.driver.links import monotonic_ns
from loadtest.driver.messages import Assign, Command, Finish, Part, Snapshot, Time
from loadtest.driver.station import Station
from loadtest.wire import Plan, Tokens

TO_WORKERS: Final = "wsctl-command"
TO_MASTER: Final = "wsctl-report"
PART_PATIENCE_S: Final = 30.0
STEP_S: Final = 0.02


class Crew(Protocol):
    """All processes that drive one run."""

    lead_ns: int  # a command that names a time reaches all of them sooner than this
    size: int

    def command(self, command: Command) -> None:
        """Have all of them do it."""

    def peek(self) -> Snapshot:
        """Return the counts of all together."""

    def snapshot(self) -> Snapshot:
        """Return the counts of all together, with the latencies since the last call."""

    def parts(self) -> list[Part]:
        """Have them finish; returns what they measured. A process that is gone gives none."""


class OwnCrew:
    """This process alone."""

    lead_ns = 20_000_000
    size = 1

    def __init__(self, station: Station) -> None:
        self._station = station

    def command(self, command: Command) -> None:
        self._station.apply(command)

    def peek(self) -> Snapshot:
        return self._station.traffic.tally.snapshot()

    def snapshot(self) -> Snapshot:
        return self._station.snapshot()

    def parts(self) -> list[Part]:
        return [self._station.part()]


class Report(msgspec.Struct):
    """What a worker tells its master."""

    machine: str | None = None
    asks_time: int | None = None
    is_ready: bool = False
    snapshot: Snapshot | None = None
    part: Part | None = None


class WorkerCrew:
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
        self._decode = msgspec.msgpack.Decoder(Report).decode
        runner.register_message(TO_MASTER, self._on_report)

    def gather(self, plan: Plan, goes_on: Callable[[], bool]) -> bool:
        """Wait for the workers and give each its share; tells whether all are ready."""
        while len(self._known) < self.size and goes_on():
            gevent.sleep(STEP_S)
        # No secret crosses the network: each worker has its own tokens and URL.
        shared = msgspec.structs.replace(plan, url="", tokens=Tokens(), web_port=None, master_port=None)
        workers = sorted(self._known)  # as EvenDispatcher sorts them
        for position, worker in enumerate(workers):
            self._send(Assign(shared, position, len(workers), machine_id()), worker)
        while len(self._ready) < self.size and goes_on():
            gevent.sleep(STEP_S)
        return len(self._ready) >= self.size

    def command(self, command: Command) -> None:
        self._send(command)

    def peek(self) -> Snapshot:
        total = Snapshot()
        for one in self._latest.values():
            total.connected += one.connected
            total.opened += one.opened
            total.failed += one.failed
            total.lost += one.lost
            total.sent += one.sent
            total.received += one.received
            total.errors += one.errors
            total.awaited += one.awaited
            total.cpu_percent = max(total.cpu_percent, one.cpu_percent)
            total.top_error = total.top_error or one.top_error
        return total

    def snapshot(self) -> Snapshot:
        total = self.peek()
        fresh, self._fresh = self._fresh, []
        for one in fresh:
            total.max_us = max(total.max_us, one.max_us)
            for value, count in one.latencies.items():
                total.latencies[value] = total.latencies.get(value, 0) + count
        return total

    def parts(self) -> list[Part]:
        self._send(Finish())
        deadline = time.monotonic() + PART_PATIENCE_S
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

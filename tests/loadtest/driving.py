"""Runs the driver's process and the lying server, for the tests of the driver."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram

from loadtest.wire import DriverReport, Measured, Plan, RunProgress
from tests import forked

HANG_S = 40
STUB = Path(__file__).with_name("stub_server.py")


@contextmanager
def lying_server(**lies: Any) -> Iterator[str]:
    """Run the stub and yield its URL."""
    process = forked.start_script(STUB, json.dumps(lies), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}/socket.io/"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def short_plan(url: str, kind: str = "heartbeat", **fields: Any) -> Plan:
    """Return a plan that takes little time."""
    defaults = {"connections": 4, "rate": 200.0, "ramp_s": 0.05, "duration_s": 0.5, "drain_s": 0.25}
    return Plan(run_id="t", kind=kind, url=url, **{**defaults, **fields})


@dataclass
class Outcome:
    """What the driver wrote, and how it ended."""

    code: int
    lines: list[RunProgress | Measured]
    words: str

    @property
    def measured(self) -> Measured:
        last = self.lines[-1]
        assert isinstance(last, Measured)
        return last

    @property
    def seconds(self) -> list[RunProgress]:
        return [line for line in self.lines if isinstance(line, RunProgress)]

    def histogram(self, name: str) -> HdrHistogram:
        return HdrHistogram.decode(self.measured.histograms.encoded[name])


@contextmanager
def driver(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """Start a driver with a plan; it is gone afterwards."""
    process = forked.start_driver(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(plan))
        process.stdin.close()
        process.stdin = None
        yield process
    finally:
        process.kill()
        process.wait()


def outcome(process: subprocess.Popen[bytes], before: bytes = b"") -> Outcome:
    """Wait for the driver's end."""
    output, words = process.communicate(timeout=HANG_S)
    lines = [msgspec.json.decode(line, type=DriverReport) for line in (before + output).splitlines()]
    return Outcome(process.returncode, lines, words.decode())


def drive(plan: Plan) -> Outcome:
    """Run a plan to its end."""
    with driver(plan) as process:
        return outcome(process)


def drive_until_steady_then(plan: Plan, act: Callable[[subprocess.Popen[bytes]], None]) -> Outcome:
    """Run a plan, and do something to its process in its window."""
    with driver(plan) as process:
        assert process.stdout is not None
        seen = b""
        while b'"steady"' not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        act(process)
        return outcome(process, seen)


def drive_until_steady_then_interrupt(plan: Plan) -> Outcome:
    """Run a plan, and end it by SIGINT in its window."""
    return drive_until_steady_then(plan, lambda process: process.send_signal(signal.SIGINT))

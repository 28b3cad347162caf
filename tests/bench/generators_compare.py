"""The load tester as a generator, beside a plain Locust user on websocket-client: same server, turn by turn."""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from loadtest.wire import DriverReport, Measured, Plan
from tests.bench.contenders import Heartbeat, Server, running
from tests.bench.generator import BenchError
from tests.bench.pinning import cores, pinned

PLAIN = Path(__file__).with_name("generators_plain.py")
ROOT = PLAIN.parents[2]
SPARE_S = 60


@dataclass(frozen=True, slots=True)
class Figures:
    """How many messages, in which time and with how much of a processor."""

    count: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Return messages a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Return the processor time in µs that one took."""
        return self.cpu_s / self.count * 1e6

    @property
    def cpu_share(self) -> float:
        """Return how much of a processor it used."""
        return self.cpu_s / self.seconds


Run = Callable[[Server, float, int | None], Figures]


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: what our generator does, what the plain one does if it can, and what is promised."""

    title: str
    own: Run
    plain: Run | None
    least_ratio: float | None = None  # of messages per second of processor time
    most_cpu_us: float | None = None


def own(kind: str, connections: int, publishers: int = 1) -> Run:
    """Return a run of the driver in the closed model without a pause, everything on."""

    def run(server: Server, seconds: float, core: int | None) -> Figures:
        plan = Plan(
            run_id=secrets.token_hex(4),
            kind=kind,
            url=f"ws://127.0.0.1:{server.port}/socket.io/",
            connections=connections,
            publishers=publishers,
            think_ms=0.0,
            ramp_s=max(0.5, connections / 1000),
            duration_s=seconds,
            drain_s=1.0,
        )
        output = _run(("-P", "-m", "loadtest.driver"), core, seconds + plan.ramp_s, msgspec.json.encode(plan))
        measured = msgspec.json.decode(output.splitlines()[-1], type=DriverReport)
        if not isinstance(measured, Measured):
            raise BenchError("the driver gave no result")
        if measured.ledger.lost or measured.ledger.duplicated:
            raise BenchError(f"the ledger does not balance: {measured.ledger}")
        return Figures(measured.received, measured.steady_s, measured.generator.cpu_percent / 100 * measured.steady_s)

    return run


def plain(mode: str, connections: int) -> Run:
    """Return a run of the plain Locust user."""

    def run(server: Server, seconds: float, core: int | None) -> Figures:
        url = f"ws://127.0.0.1:{server.port}/socket.io/"
        output = _run((str(PLAIN), mode, url, str(connections), str(seconds)), core, seconds, b"")
        return msgspec.json.decode(output.splitlines()[-1], type=Figures)

    return run


CASES = (
    Case(
        "round trips, 100 connections",
        own("heartbeat", 100),
        plain("ping", 100),
        least_ratio=4.0,
    ),
    Case("receipts, 1 publisher × 100", own("broadcast", 100), plain("receive", 100)),
    Case("receipts, 10 publishers × 1,000", own("broadcast", 1000, 10), None, most_cpu_us=4.0),
)


def compare(seconds: float, repeat: int, say: Callable[[str], None]) -> tuple[str, list[dict[str, Any]]]:
    """Measure all cases; returns a Markdown table, and the same as data. Raises BenchError."""
    server_core, core = cores()
    lines = [
        "| | wsctl: k/s | wsctl: CPU µs each | websocket-client: k/s | CPU µs each | ratio by CPU | promise |",
        "|---|---|---|---|---|---|---|",
    ]
    results = []
    for case in CASES:
        ours: list[Figures] = []
        theirs: list[Figures] = []
        for _ in range(repeat):
            for run, taken in ((case.own, ours), (case.plain, theirs)):
                if run is not None:
                    taken.append(_measure(run, seconds, server_core, core))
                    figures = taken[-1]
                    who = "wsctl" if run is case.own else "websocket-client"
                    words = f"{figures.per_s:,.0f}/s, {figures.cpu_us:.1f} µs each, CPU {figures.cpu_share:.0%}"
                    say(f"{case.title} {who}: {words}")
        results.append(_result(case, ours, theirs))
        lines.append(_row(results[-1]))
    return "\n".join(lines), results


def _measure(run: Run, seconds: float, server_core: int | None, core: int | None) -> Figures:
    secret = secrets.token_urlsafe(32)
    with running("wsctl-unlimited", secret=secret, heartbeat=Heartbeat(), core=server_core) as server:
        return run(server, seconds, core)


def _result(case: Case, ours: list[Figures], theirs: list[Figures]) -> dict[str, Any]:
    cpu_us = median(figures.cpu_us for figures in ours)
    result: dict[str, Any] = {
        "title": case.title,
        "per_s": median(figures.per_s for figures in ours),
        "cpu_us": cpu_us,
        "plain_per_s": median(figures.per_s for figures in theirs) if theirs else None,
        "plain_cpu_us": median(figures.cpu_us for figures in theirs) if theirs else None,
        "ratio": median(b.cpu_us / a.cpu_us for a, b in zip(ours, theirs, strict=True)) if theirs else None,
        "promise": "",
        "held": None,
    }
    if case.least_ratio is not None and result["ratio"] is not None:
        result["promise"] = f"≥ {case.least_ratio:g} ×"
        result["held"] = result["ratio"] >= case.least_ratio
    if case.most_cpu_us is not None:
        result["promise"] = f"≤ {case.most_cpu_us:g} µs"
        result["held"] = cpu_us <= case.most_cpu_us
    return result


def _row(result: dict[str, Any]) -> str:
    def figure(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    held = {None: "", True: ": held", False: ": **missed**"}[result["held"]]
    cells = [
        result["title"],
        f"{result['per_s'] / 1000:.1f}",
        f"{result['cpu_us']:.1f}",
        figure(result["plain_per_s"] and result["plain_per_s"] / 1000, ".1f"),
        figure(result["plain_cpu_us"], ".1f"),
        figure(result["ratio"], ".1f"),
        result["promise"] + held,
    ]
    return "| " + " | ".join(cells) + " |"


def _run(arguments: tuple[str, ...], core: int | None, seconds: float, stdin: bytes) -> bytes:
    with pinned(core):
        process = subprocess.Popen(
            (sys.executable, *arguments),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    try:
        output, words = process.communicate(stdin, timeout=seconds + SPARE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchError("the generator did not end") from None
    if process.returncode or not output:
        raise BenchError(f"the generator failed: {words.decode(errors='replace').strip()[-300:]}")
    return output


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    """Measure and print the table; returns the exit code: 1 if it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generators_compare", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="length of one run (default 4)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    options = parser.parse_args()
    try:
        table, results = compare(options.seconds, options.repeat, _say)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(table + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

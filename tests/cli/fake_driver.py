"""A driver that measures nothing: what it reports stands in the query of the plan's URL."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hdrh.histogram import HdrHistogram

RANGE_US = (1, 60_000_000)
DIGITS = 3


def main() -> None:
    plan = json.load(sys.stdin)
    wishes = {name: values[0] for name, values in parse_qs(urlsplit(plan["url"]).query).items()}
    if plan["kind"] not in wishes.get("kinds", plan["kind"]):
        wishes = {}  # they are for the other test
    signal.signal(signal.SIGINT, _interrupt)
    if "exit" in wishes and _is_turn(wishes):
        sys.stderr.write(wishes.get("says", "it said so") + "\n")
        sys.exit(int(wishes["exit"]))
    level = plan["rate"] if plan["rate"] is not None else plan["connections"]
    if plan["connections"] > float(wishes.get("limit", "inf")):
        sys.stderr.write("too few files\n")
        sys.exit(5)
    is_slow = level > float(wishes.get("knee", "inf"))
    latency_us = 3_000_000 if is_slow else int(wishes.get("latency_us", 1000))
    was_interrupted = False
    try:
        for second in range(int(wishes.get("seconds", 2))):
            say(progress(plan, second + 1, latency_us, int(wishes.get("errors", 0))))
            time.sleep(float(wishes.get("second", 0)))
    except KeyboardInterrupt:
        was_interrupted = True
        if "nothing" in wishes:
            sys.exit(130)
    say(measured(plan, latency_us, wishes, was_interrupted))


def _is_turn(wishes: dict[str, str]) -> bool:
    """Tell whether this run is to end so: the first `times` ones, after `after` others; all without these wishes."""
    runs = Path("runs.txt")  # where the command runs
    number = len(runs.read_text()) if runs.exists() else 0
    runs.write_text("x" * (number + 1))
    after = int(wishes.get("after", 0))
    return after <= number < after + int(wishes.get("times", 1_000))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def progress(plan: dict[str, Any], second: int, latency_us: int, errors: int) -> dict[str, Any]:
    connections = plan["connections"]
    return {
        "type": "progress",
        "elapsedS": float(second),
        "phase": "steady" if second > 1 else "ramp",
        "connected": connections,
        "wanted": connections,
        "sent": 100 * second,
        "received": 100 * second,
        "errors": errors,
        "sentPerS": 100.0,
        "receivedPerS": 100.0,
        "p50Us": float(latency_us),
        "p99Us": float(latency_us),
        "maxUs": float(latency_us),
    }


def measured(plan: dict[str, Any], latency_us: int, wishes: dict[str, str], was_interrupted: bool) -> dict[str, Any]:
    histogram = HdrHistogram(*RANGE_US, DIGITS)
    histogram.record_value(latency_us, int(wishes.get("samples", 1000)))
    encoded = histogram.encode().decode()
    errors = int(wishes.get("errors", 0))
    return {
        "type": "measured",
        "run_id": plan["runId"],
        "started_at_ms": 1_795_443_327_000,
        "steady_s": plan["durationS"],
        "peak_connections": plan["connections"],
        "connections_opened": plan["connections"],
        "connections_failed": 0,
        "connections_lost": 0,
        "sent": 1000,
        "received": 1000,
        "errors": {"RATE_LIMITED": errors} if errors else {},
        "ledger": {"published": 10, "expected": 1000, "received": 1000, "lost": int(wishes.get("lost", 0))},
        "histograms": {"encoded": dict.fromkeys(("latency", "service", "connect"), encoded)},
        "generator": {
            "cpuPercent": 20.0,
            "doubts": [wishes["doubt"]] if "doubt" in wishes else [],
            "lateSends": int(wishes.get("late_sends", 0)),
        },
        "was_interrupted": was_interrupted,
    }


if __name__ == "__main__":
    main()

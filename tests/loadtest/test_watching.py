"""When a run ends early because a threshold is broken."""

from __future__ import annotations

import pytest

from loadtest import wire
from loadtest.faults import ALL_FAULTS
from loadtest.generator.sofar import PERCENTILES
from loadtest.thresholds import parse_threshold
from loadtest.watching import SECONDS_IN_A_ROW, Watch
from loadtest.wire import LatencyFigures, Phase, RunProgress


def second(elapsed_s: float, phase: Phase = Phase.STEADY, **figures: float) -> RunProgress:
    fixed = {"connected": 1, "wanted": 1, "sent": 0, "received": 0, "errors": 0, "sent_per_s": 100.0}
    return RunProgress(**{"elapsed_s": elapsed_s, "phase": phase, "received_per_s": 100.0} | fixed | figures)


def broken_at(rule: str, *seconds: dict[str, float], grace_s: float = 0.0) -> int | None:
    """Return the number of the second that ends a run with this rule, from 1."""
    watch = Watch([parse_threshold(rule)], grace_s)
    for number, figures in enumerate(seconds, 1):
        if (broken := watch.see(second(float(number), **figures))) is not None:
            assert broken == rule
            return number
    return None


SLOW = {"p50_us": 60_000.0, "p99_us": 90_000.0, "max_us": 90_000.0}
FAST = {"p50_us": 600.0, "p99_us": 900.0, "max_us": 900.0}


@pytest.mark.parametrize("rule", ["rtt.p99<50ms", "delivery.p50<50ms", "latency.p99<=50ms"])
def test_latency_must_be_bad_for_some_seconds_in_a_row(rule):
    assert broken_at(rule, *[SLOW] * 5) == SECONDS_IN_A_ROW
    assert broken_at(rule, *[SLOW, SLOW, FAST] * 3) is None


def test_a_rate_that_is_too_low_ends_the_run():
    assert broken_at("rate>150", *[{}] * 5) == SECONDS_IN_A_ROW
    assert broken_at("received_rate>=100", *[{}] * 5) is None
    assert broken_at("received_rate>100", *[{}] * 5) == SECONDS_IN_A_ROW


def test_what_can_only_grow_ends_it_at_once():
    assert broken_at("errors<=0", {}, {"errors": 1}) == 2
    assert broken_at("rtt.max<50ms", FAST, SLOW) == 2


def figures(latest_max_us: float = 9e6, count: int = 100_000, value_us: float = 9e6) -> LatencyFigures:
    return LatencyFigures(count, value_us, value_us, {f"{share:g}": value_us for share in PERCENTILES}, latest_max_us)


@pytest.mark.parametrize(
    "rule",
    [
        *(
            "rtt.p99.9<50ms",
            "rtt.mean<50ms",
            "service.p95<50ms",
            "connect.p50<50ms",
            "reconnect.p99<50ms",
            "e2e.p90<1s",
        ),
        *("first.p50<50ms", "last.max<50ms", "loss<1%", "lost<=0", "duplicates<=0", "reorders<=0", "late<=0"),
        *("misdelivered<=0", "unknown<=0", "corrupt<=0", "failed_connections<=0", "lost_connections<=0"),
        *("missed_heartbeats<=0", "stalls<=0"),
    ],
)
def test_every_threshold_is_watched(rule):
    names = (wire.LATENCY, wire.SERVICE, wire.CONNECT, wire.RECONNECT, wire.E2E, wire.FIRST, wire.LAST, wire.STALL)
    counts = dict.fromkeys((*ALL_FAULTS, "failed_connections", "lost_connections", "missed_heartbeats"), 5)
    bad = {"figures": dict.fromkeys(names, figures()), **counts}
    assert broken_at(rule, *[bad] * 5) in (1, SECONDS_IN_A_ROW)
    assert broken_at(rule, *[{}] * 5) is None


def test_what_an_early_hiccup_left_in_the_run_so_far_does_not_end_it():
    healing = {"figures": {wire.LATENCY: figures(latest_max_us=1000.0)}}
    assert broken_at("rtt.p99.9<50ms", *[healing] * 9) is None
    assert broken_at("rtt.p99.9<50ms", *[{"figures": {wire.LATENCY: figures(count=999)}}] * 9) is None


@pytest.mark.parametrize("rule", ["errors>5", "rtt.p99.9<1us", "connect.p99<1us", "service.p99<1us", "lost<=0"])
def test_what_a_second_does_not_tell_is_left_to_the_end(rule):
    assert broken_at(rule, *[SLOW] * 5) is None


def test_the_grace_time_counts_from_the_window_on():
    assert broken_at("errors<=0", *[{"errors": 1}] * 9, grace_s=5) == 6
    watch = Watch([parse_threshold("errors<=0")], 5)
    assert watch.see(second(100, Phase.RAMP, errors=1)) is None
    assert watch.see(second(101, errors=1)) is None
    assert watch.see(second(105, errors=1)) is None
    assert watch.see(second(106, Phase.DRAIN, errors=1)) is None
    assert watch.see(second(106, errors=1)) == "errors<=0"


def test_a_second_in_which_nothing_came_neither_clears_nor_condemns():
    assert broken_at("rtt.p99<50ms", SLOW, SLOW, {}, {}) is None
    assert broken_at("rtt.p99<50ms", SLOW, SLOW, {}, SLOW) == 4

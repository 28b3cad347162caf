"""How fast lines go out, by a clock of the test's own."""

from __future__ import annotations

import pytest

from wsclient.pacing import Pacer
from wscore.payloads import Limits, RateLimit


def sent_within(pace: Pacer, seconds: float, size: int = 100, now_s: float = 0.0) -> list[float]:
    """Send whenever the pace allows it; returns when that was."""
    times = []
    while (wait_s := pace.wait_s(size, now_s, is_line=True)) + now_s <= seconds:
        now_s += wait_s
        pace.sent(size, now_s, is_line=True)
        times.append(now_s)
    return times


def test_without_limits_nothing_waits():
    pace = Pacer(None, 0.0)
    pace.greeted(Limits(1 << 20), 0.0)
    assert pace.wait_s(1 << 20, 0.0, is_line=True) == 0


def test_the_rate_of_the_user_counts_lines_alone_and_spreads_them():
    pace = Pacer(10, 0.0)
    assert sent_within(pace, 1.0) == pytest.approx([n / 10 for n in range(11)], abs=0.01)
    assert pace.wait_s(100, 1.0, is_line=False) == 0


def test_the_limits_of_the_server_are_kept_with_some_room():
    pace = Pacer(None, 0.0)
    pace.greeted(Limits(1 << 20, RateLimit(100, 200)), 0.0)
    times = sent_within(pace, 2.0)
    assert times[179] == 0
    assert times[180] > 0
    assert 340 <= len(times) < 200 + 2 * 100


def test_bytes_count_by_their_size_and_what_is_larger_than_the_burst_waits_for_all_of_it():
    pace = Pacer(None, 0.0)
    pace.greeted(Limits(1 << 20, bytes=RateLimit(1000, 2000)), 0.0)
    assert 9 <= len(sent_within(pace, 2.0, size=400)) <= 10
    assert 0 < pace.wait_s(1_000_000, 2.0, is_line=True) <= 2


def test_who_probes_for_errors_does_not_heed_the_server():
    pace = Pacer(None, 0.0, heeds_limits=False)
    pace.greeted(Limits(1 << 20, RateLimit(1, 1)), 0.0)
    for _ in range(5):
        assert pace.wait_s(1, 0.0, is_line=True) == 0
        pace.sent(1, 0.0, is_line=True)


def test_after_a_refusal_there_is_peace_and_then_ever_longer_gaps():
    pace = Pacer(None, 0.0)
    for _ in range(60):  # all of one volley: they say one thing
        pace.refused(0.0, 0.05, 0.1)
    assert pace.wait_s(1, 0.1, is_line=True) >= 1
    first = sent_within(pace, 10.0, now_s=0.1)
    pace.refused(first[-1], 0.01, 10.0)
    second = sent_within(pace, 20.0, now_s=10.0)
    assert first[1] - first[0] == pytest.approx(0.05)
    assert second[1] - second[0] == pytest.approx(0.1)
    for _ in range(100):
        pace.passed()
    pace.sent(1, 30.0, is_line=True)
    assert pace.wait_s(1, 30.0, is_line=True) == 0

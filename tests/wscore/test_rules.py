"""The rules that need no socket: heartbeat, reconnecting and rates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wscore.codes import CLOSES, Action
from wscore.errors import ConfigError
from wscore.heartbeat import HeartbeatPolicy, loop_stalled
from wscore.ratelimit import Rate, TokenBucket
from wscore.reconnect import ReconnectPolicy

BELOW_ONE = 1 - 2**-53
RANDOM = st.floats(0, 1, exclude_max=True)


def test_the_heartbeat_defaults_are_those_of_the_seed():
    assert HeartbeatPolicy() == HeartbeatPolicy(interval_ms=25_000, timeout_ms=60_000)


def test_a_peer_is_gone_after_the_timeout_and_not_at_it():
    policy = HeartbeatPolicy()
    assert policy.deadline_ms(1000) == 61_000
    assert not policy.is_gone(1000, 61_000)
    assert policy.is_gone(1000, 61_000.001)


@pytest.mark.parametrize(
    ("interval_ms", "timeout_ms", "setting"),
    [
        (0, 60_000, "--heartbeat-interval"),
        (-1, 60_000, "--heartbeat-interval"),
        (1000, 1000, "--heartbeat-timeout"),
        (1000, 999, "--heartbeat-timeout"),
    ],
)
def test_a_heartbeat_that_cannot_work_is_refused(interval_ms, timeout_ms, setting):
    with pytest.raises(ConfigError) as caught:
        HeartbeatPolicy(interval_ms, timeout_ms)
    assert caught.value.setting == setting


@pytest.mark.parametrize(("late_ms", "stalled"), [(-100, False), (0, False), (500, False), (501, True)])
def test_a_loop_has_stalled_when_a_timer_is_half_a_second_late(late_ms, stalled):
    assert loop_stalled(10_000, 10_000 + late_ms) is stalled


def test_the_ceiling_of_the_delay_doubles_until_the_cap():
    policy = ReconnectPolicy(base_ms=500, cap_ms=30_000)
    longest = [policy.delay_ms(attempt, BELOW_ONE) + 1 for attempt in range(9)]
    assert longest == [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]


def test_full_jitter_reaches_down_to_no_delay():
    assert [ReconnectPolicy().delay_ms(attempt, 0.0) for attempt in (0, 5, 50)] == [0, 0, 0]


@settings(max_examples=200, deadline=None)
@given(
    base_ms=st.integers(1, 10_000),
    cap_ms=st.integers(1, 100_000),
    attempt=st.integers(0, 10_000),
    random=RANDOM,
    retry_after_ms=st.integers(0, 100_000),
)
def test_a_delay_lies_between_what_the_server_asked_and_the_cap_above_it(
    base_ms, cap_ms, attempt, random, retry_after_ms
):
    delay_ms = ReconnectPolicy(base_ms, cap_ms).delay_ms(attempt, random, retry_after_ms)
    assert retry_after_ms <= delay_ms <= retry_after_ms + cap_ms
    assert delay_ms - retry_after_ms <= base_ms * 2**attempt


def test_the_random_number_spreads_the_delay_evenly():
    policy = ReconnectPolicy(base_ms=1000, cap_ms=1000)
    assert [policy.delay_ms(3, random) for random in (0.0, 0.25, 0.5, 0.75)] == [0, 250, 500, 750]


@pytest.mark.parametrize("code", CLOSES)
def test_a_client_comes_back_unless_the_table_says_stop(code):
    assert ReconnectPolicy().may_retry(code, 0) is (CLOSES[code].action is not Action.STOP)


def test_an_unknown_code_is_treated_as_the_codes_say():
    assert ReconnectPolicy().may_retry(1099, 0)
    assert not ReconnectPolicy().may_retry(4999, 0)


def test_attempts_end_at_their_maximum():
    policy = ReconnectPolicy(max_attempts=2)
    assert [policy.may_retry(1006, attempt) for attempt in range(4)] == [True, True, False, False]
    assert not ReconnectPolicy(max_attempts=0).may_retry(1006, 0)
    assert ReconnectPolicy().may_retry(1006, 10**6)


def test_a_bucket_starts_full_and_refills_at_its_rate():
    bucket = TokenBucket(Rate(per_second=2, burst=3), now_s=100.0)
    assert [bucket.take(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1, 100.5), bucket.take(1, 100.5)] == [True, False]
    assert [bucket.take(1, 1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_refused_take_costs_nothing():
    bucket = TokenBucket(Rate(per_second=1, burst=4), now_s=0.0)
    assert not bucket.take(5, 0.0)
    assert bucket.take(4, 0.0)


@settings(max_examples=200, deadline=None)
@given(
    rate=st.builds(Rate, st.floats(0.01, 1000), st.floats(0.01, 1000)),
    takes=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=60),
)
def test_a_bucket_never_gives_more_than_its_burst_and_what_flowed_in(rate, takes):
    now_s = start_s = 1000.0
    bucket, taken = TokenBucket(rate, now_s), 0.0
    for amount, pause_s in takes:
        now_s += pause_s
        if bucket.take(amount, now_s):
            taken += amount
        flowed_in = rate.per_second * (now_s - start_s)
        assert taken <= (rate.burst + flowed_in) * (1 + 1e-9) + 1e-3  # its allowance for rounding


@settings(max_examples=100, deadline=None)
@given(rate=st.builds(Rate, st.integers(1, 50), st.integers(1, 50)), steps=st.lists(st.integers(0, 8), max_size=60))
def test_a_bucket_gives_exactly_what_an_ideal_one_would(rate, steps):
    now_s, level = 0.0, float(rate.burst)
    bucket = TokenBucket(rate, now_s)
    for step in steps:  # eighths of a second are exact in binary
        now_s += step / 8
        level = min(rate.burst, level + rate.per_second * step / 8)
        given = level >= 1
        assert bucket.take(1, now_s) is given
        level -= given

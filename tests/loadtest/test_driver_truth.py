"""What the driver measures is what a server did that delays, loses, repeats, swaps and stalls on purpose."""

from __future__ import annotations

import pytest

from loadtest.wire import CONNECT, FIRST, LAST, LATENCY, MEDIAN, SERVICE, Ledger
from tests.loadtest.driving import drive, lying_server, short_plan

MS = 1000
TOLERANCE_US = 400 * MS  # a busy machine is slow, never early


@pytest.mark.parametrize("processes", [1, 2])
def test_the_ledger_shows_exactly_what_was_lost_repeated_and_swapped(processes):
    with lying_server(lose=3, repeat=7, swap=5, delay_ms=50) as url:
        # A long drain: what comes after it has no first and last receiver, and a busy machine is slow.
        plan = short_plan(url, "broadcast", connections=6, sessions=3, rate=600.0, processes=processes, drain_s=1.5)
        outcome = drive(plan)
    # 100 messages in each of 3 sessions with 2 receivers, of which 2 processes have one each; every tenth message
    # has each of the three fates.
    ledger = outcome.measured.ledger
    assert ledger == Ledger(300, 600, 540, lost=60, duplicated=60, reordered=ledger.reordered)
    # A message that is held back when all is over comes last, and so in order.
    assert ledger.reordered in (54, 56, 58, 60)
    assert outcome.measured.sent == 300
    assert outcome.measured.received == 540
    assert outcome.measured.errors == {}
    for name in (LATENCY, SERVICE, FIRST, MEDIAN, LAST):
        assert 50 * MS <= outcome.histogram(name).get_min_value() < 50 * MS + TOLERANCE_US
    assert outcome.histogram(LATENCY).total_count == outcome.histogram(SERVICE).total_count == 540
    # Each process sees the first of its own receivers.
    assert outcome.histogram(FIRST).total_count == outcome.histogram(LAST).total_count == 270 * processes
    assert outcome.histogram(FIRST).get_mean_value() <= outcome.histogram(LAST).get_mean_value()


@pytest.mark.slow
def test_what_one_receiver_alone_loses_is_its_loss_alone():
    with lying_server(lose=3, only_first=True) as url:
        outcome = drive(short_plan(url, "broadcast", connections=5))
    assert outcome.measured.ledger == Ledger(published=100, expected=500, received=490, lost=10)


def test_messages_that_come_after_the_window_are_waited_for():
    with lying_server(delay_ms=250) as url:
        outcome = drive(short_plan(url, "broadcast", connections=2, rate=50.0, drain_s=1.5))
    assert outcome.measured.ledger == Ledger(published=25, expected=50, received=50)
    assert outcome.histogram(LATENCY).get_min_value() >= 250 * MS


def test_a_stall_shows_in_every_message_that_was_due_during_it():
    with lying_server(stall_after=60, stall_s=0.5) as url:
        outcome = drive(short_plan(url, connections=2, rate=100.0, duration_s=1.5, drain_s=1.0))
    latency = outcome.histogram(LATENCY)
    assert latency.total_count == outcome.measured.sent == 150
    assert 450 * MS <= latency.get_value_at_percentile(99.9) < 500 * MS + TOLERANCE_US
    # A third was due while it stood still, evenly: a generator that waits for each answer would have seen but one.
    assert latency.get_value_at_percentile(80) >= 150 * MS


def test_lost_and_repeated_pongs_are_in_the_ledger_too():
    with lying_server(lose=3, repeat=7) as url:
        outcome = drive(short_plan(url, connections=7))
    ledger = outcome.measured.ledger
    assert (ledger.published, ledger.expected, ledger.received, ledger.lost) == (100, 100, 90, 10)
    assert ledger.duplicated == 10
    assert outcome.histogram(CONNECT).total_count == outcome.measured.connections_opened == 7
    assert outcome.measured.peak_connections == 7
    assert outcome.measured.steady_s == 0.5


@pytest.mark.slow
def test_the_closed_model_asks_again_after_each_answer():
    with lying_server(delay_ms=50) as url:
        outcome = drive(short_plan(url, rate=None, think_ms=50.0, connections=3))
    # A turn takes at least 100 ms: in half a second no more than 6 a connection.
    assert 3 <= outcome.measured.sent <= 18
    assert outcome.histogram(LATENCY).get_min_value() >= 50 * MS
    assert outcome.measured.histograms.encoded[LATENCY] == outcome.measured.histograms.encoded[SERVICE]

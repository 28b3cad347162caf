"""What the driver measures is what a server did that delays, loses, repeats, swaps and stalls on purpose."""

from __future__ import annotations

import msgspec
import pytest

from loadtest.wire import CONNECT, FIRST, LAST, LATENCY, MEDIAN, SERVICE, Ledger, SentMessage
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
    # Each process sees some of the receivers, and yet a broadcast has one first and one last.
    assert outcome.histogram(FIRST).total_count == outcome.histogram(LAST).total_count == 270
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


@pytest.mark.parametrize("model", [{"rate": 400.0}, {"rate": None, "think_ms": 5.0}])
def test_pongs_without_an_id_answer_pings_in_order(model):
    with lying_server(bare_pongs=True, delay_ms=20) as url:
        outcome = drive(short_plan(url, connections=4, **model))
    ledger = outcome.measured.ledger
    assert ledger == Ledger(ledger.expected, ledger.expected, ledger.expected)
    assert ledger.expected > 20
    assert outcome.histogram(LATENCY).get_min_value() >= 20 * MS


def test_a_lost_reply_holds_its_connection_up_no_longer_than_the_reply_timeout():
    with lying_server(lose=3) as url:
        outcome = drive(short_plan(url, rate=None, think_ms=1.0, connections=2, duration_s=1.5, reply_timeout_s=0.1))
    ledger = outcome.measured.ledger
    # Every tenth ping is lost: two connections that hung after their first loss would have sent 20 at most.
    assert ledger.expected > 60
    assert ledger.expected // 10 - 1 <= ledger.lost <= ledger.expected // 10 + 1


def test_a_reply_after_the_reply_timeout_is_late_and_not_lost():
    with lying_server(delay_ms=150) as url:
        outcome = drive(short_plan(url, rate=None, think_ms=1.0, connections=2, reply_timeout_s=0.05, drain_s=1.0))
    ledger = outcome.measured.ledger
    assert ledger == Ledger(ledger.expected, ledger.expected, ledger.expected, late=ledger.expected)
    assert ledger.late > 4
    assert outcome.histogram(LATENCY).get_min_value() >= 150 * MS


def test_two_greetings_are_one_connection_and_an_error():
    with lying_server(greetings=2) as url:
        measured = drive(short_plan(url, connections=3)).measured
    assert (measured.connections_opened, measured.peak_connections) == (3, 3)
    assert measured.errors == {"session_created came twice": 3}


def test_binary_and_garbled_frames_are_errors_by_name():
    noise = ["0x00ff", "{no", "[1]"]
    with lying_server(noise=noise) as url:
        measured = drive(short_plan(url, connections=2)).measured
    assert measured.errors == {"a binary frame": 2, "a text that is not JSON": 2, "JSON that is no envelope": 2}
    assert measured.ledger.lost == 0


@pytest.mark.parametrize("kind", ["heartbeat", "broadcast"])
def test_what_was_due_on_a_connection_that_is_gone_was_asked_for_and_not_sent(kind):
    with lying_server(accept=3) as url:  # the probe before the run is one of them
        measured = drive(short_plan(url, kind, connections=4, publishers=4 if kind == "broadcast" else 1)).measured
    assert (measured.asked, measured.sent, measured.connections_failed) == (100, 50, 2)
    assert measured.away_s == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
def test_a_target_that_ends_all_connections_and_takes_new_ones_did_not_die():
    with lying_server(close_after=20, close_code=1000) as url:
        measured = drive(short_plan(url, duration_s=5.0)).measured
    assert measured.all_lost_at_s is not None
    assert measured.target_died_at_s is None
    assert measured.close_codes == {"1000": 4}


@pytest.mark.slow
def test_lost_connections_come_back_if_they_are_to():
    with lying_server(close_after=20, close_code=4003) as url:
        measured = drive(short_plan(url, duration_s=2.0, reconnects=True)).measured
    assert (measured.connections_lost, measured.connections_opened) == (4, 8)
    assert measured.all_lost_at_s is None
    assert 0 < measured.away_s < 4 * 1.0


@pytest.mark.slow
def test_a_recording_goes_on_where_it_was_when_its_connection_is_back():
    ping = '{"type":"ping","timestamp":1,"data":{"timestamp":1},"id":"%d"}'
    recording = tuple(SentMessage(20.0 * place, ping % place, is_answered=True) for place in range(100))
    with lying_server(close_after=40, close_code=4003) as url:
        plan = short_plan(url, "replay", rate=None, duration_s=2.0, drain_s=0.5, reconnects=True)
        measured = drive(msgspec.structs.replace(plan, recording=recording, plays_once=True)).measured
    assert (measured.connections_lost, measured.connections_opened) == (4, 8)
    assert 4 <= measured.asked - measured.sent < 200  # what was due while it was away
    assert measured.asked == 400
    assert measured.ledger.expected == measured.sent
    assert measured.ledger.lost < 8  # what was under way when it was lost


@pytest.mark.slow
def test_a_publisher_whose_own_message_is_lost_publishes_again_after_the_reply_timeout():
    with lying_server(lose=3) as url:
        plan = short_plan(url, "broadcast", rate=None, think_ms=1.0, connections=2, duration_s=1.5, reply_timeout_s=0.1)
        ledger = drive(plan).measured.ledger
    assert ledger.published > 30  # it would have hung at its fourth
    assert 0 < ledger.lost <= ledger.expected // 10 + 2

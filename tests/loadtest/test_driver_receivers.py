"""Whose a fault is: by connection and by second, of requests as of broadcasts, over several processes too."""

from __future__ import annotations

import pytest

from loadtest.summary import Verdict
from loadtest.verdicts import summarise
from loadtest.wire import Phase
from tests.loadtest.driving import drive, lying_server, short_plan


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_lost_reply_has_its_connection_and_its_second(processes):
    with lying_server(lose=3) as url:
        # Every tenth message of all is due on the first of ten connections, and lost.
        plan = short_plan(url, connections=10, duration_s=2.0, processes=processes)
        outcome = drive(plan)
    measured = outcome.measured
    assert measured.ledger.lost == 40
    assert sum(receiver.faults["lost"] for receiver in measured.receivers) == 40
    assert {receiver.session for receiver in measured.receivers} == {None}
    lost_at = measured.lost_by_second
    assert sum(lost_at.values()) == 40
    assert len(lost_at) in (2, 3)
    assert max(lost_at.values()) <= 21  # 200 a second, of which each tenth
    summary = summarise(plan, measured, outcome.seconds)
    assert sum(second.lost for second in summary.series) == 40


def test_repeated_replies_have_their_connection_and_their_second():
    with lying_server(repeat=7) as url:
        outcome = drive(short_plan(url, connections=2, duration_s=1.5))
    assert sum(receiver.faults["duplicated"] for receiver in outcome.measured.receivers) == 30
    assert outcome.seconds[-1].duplicated == 30


def test_a_reply_that_is_overdue_is_missing_until_it_comes():
    with lying_server(delay_ms=700) as url:
        outcome = drive(short_plan(url, duration_s=1.5, reply_timeout_s=0.1, drain_s=2.0))
    assert max(second.lost for second in outcome.seconds) > 0
    assert outcome.seconds[-1].lost == 0
    assert outcome.measured.ledger.late == sum(receiver.faults["late"] for receiver in outcome.measured.receivers)
    assert outcome.measured.ledger.late == outcome.measured.ledger.expected == 300


def test_a_reply_to_the_connection_of_another_process_is_misdelivered():
    with lying_server(misroute=3) as url:
        measured = drive(short_plan(url, connections=2, processes=2)).measured
    ledger = measured.ledger
    assert (ledger.lost, ledger.misdelivered, ledger.duplicated, ledger.unknown) == (10, 10, 0, 0)


@pytest.mark.slow
def test_a_wrong_id_is_unknown_over_several_processes_too():
    with lying_server(wrong_id=3) as url:
        ledger = drive(short_plan(url, connections=2, processes=2)).measured.ledger
    assert (ledger.lost, ledger.misdelivered, ledger.unknown) == (10, 0, 10)


@pytest.mark.parametrize("personal", [False, True])
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_comes_late_has_its_receiver(personal, processes):
    with lying_server(first_delay_ms=700, personal=personal) as url:
        plan = short_plan(url, "broadcast", connections=4, rate=100.0, duration_s=1.0, processes=processes)
        measured = drive(plan).measured
    (receiver,) = measured.receivers
    # What came to the first one came 0.7 s after it was due, where 0.25 s are waited for; the last never came in time.
    assert receiver.faults["late"] == measured.ledger.late > 0
    assert receiver.faults["late"] + receiver.faults["lost"] == 100
    assert measured.ledger.expected == 400


@pytest.mark.slow
def test_a_window_of_less_than_a_second_is_judged():
    with lying_server() as url:
        plan = short_plan(url, connections=2, rate=100.0, duration_s=0.3)
        outcome = drive(plan)
    assert [second.phase for second in outcome.seconds].count(Phase.STEADY) == 1
    summary = summarise(plan, outcome.measured, outcome.seconds)
    assert summary.sent == summary.ledger.received == 30
    assert (summary.verdict, summary.reasons) == (Verdict.PASSED, ()) or summary.generator.doubts

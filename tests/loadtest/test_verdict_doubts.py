"""What a run does not tell is neither praise nor blame: late percentiles, few samples, figures that nobody measured."""

from __future__ import annotations

import msgspec
import pytest

from loadtest import wire
from loadtest.comparison import MAX_TOLERANCE, Change, InvalidRunError, compare
from loadtest.faults import FAULTS
from loadtest.reports.figures import facts
from loadtest.summary import Verdict
from loadtest.wire import Generator, Histograms, Ledger, ReceiverLedger
from tests.loadtest.test_verdicts import PLAN, histogram, summary

LATE = Generator(late_sends=5, lag_max_us=80_000.0)  # of 1000


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ("delivery.p99<50ms", Verdict.PASSED),
        ("delivery.p99.9<50ms", Verdict.INVALID),
        ("service.p99.9<1us", Verdict.INVALID),
        ("delivery.max<50ms", Verdict.PASSED),
        ("delivery.max<1ms", Verdict.INVALID),
    ],
)
def test_a_percentile_within_the_share_of_late_sends_says_nothing(rule, verdict):
    samples = Histograms({wire.LATENCY: histogram(*range(1000, 2000)), wire.SERVICE: histogram(*range(1, 1001))})
    run = summary(rule, generator=LATE, histograms=samples)
    assert run.verdict is verdict
    if verdict is Verdict.INVALID:
        assert f"{rule} lies within the 0.5 % of messages that were sent late" in run.reasons[0]
        assert "late by up to 80 ms" in run.reasons[0]
    assert "max 80.0 ms, 5 sent late, so what is above p99.5 is its own doing" in dict(facts(run))["generator"]


def test_a_percentile_of_too_few_samples_does_not_hold():
    few = Histograms({wire.LATENCY: histogram(1000, 1100, 1200)})
    run = summary("delivery.p99.99<50ms", histograms=few)
    assert run.verdict is Verdict.INVALID
    assert run.reasons == ("delivery.p99.99<50ms cannot be told of 3 samples, and it takes 10,000.",)
    assert not run.checks[0].passed
    assert summary("delivery.p50<50ms", "delivery.max<50ms", histograms=few).verdict is Verdict.PASSED
    assert summary("delivery.p99.99<1ms", histograms=few).verdict is Verdict.FAILED  # what few samples broke is broken


@pytest.mark.parametrize(
    "rule", [*(f"{fault.rule}<=0" for fault in FAULTS), "loss<1%", "stalls<=0", "reconnect.p50<1s"]
)
def test_what_was_never_measured_does_not_hold(rule):
    run = summary(rule, ledger=Ledger())
    assert run.verdict is Verdict.FAILED
    assert run.reasons == (f"{rule} was missed: nothing of the kind was measured.",)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.field)
def test_every_fault_fails_a_run_without_rules_and_is_a_rule(fault):
    ledger = Ledger(published=10, expected=100, received=100, **{fault.field: 3})
    run = summary(ledger=ledger)
    assert run.reasons == (f"3 {fault.sentence}.",)
    assert summary(f"{fault.rule}<=2", ledger=ledger).verdict is Verdict.FAILED
    assert summary(f"{fault.rule}<=3", ledger=ledger).verdict is Verdict.PASSED
    assert compare(summary(), run).is_worse


def test_a_loss_is_shown_with_its_receiver_and_in_its_second():
    receivers = (ReceiverLedger(4, 0, {"lost": 7, "duplicated": 1}), ReceiverLedger(9, 0, {"lost": 2}))
    ledger = Ledger(published=10, expected=100, received=91, lost=9, duplicated=1)
    run = summary(ledger=ledger, receivers=receivers, receivers_affected=3, lost_by_second={2: 6, 4: 3})
    whose = dict(facts(run))["whose"]
    assert whose.startswith("connection 4 of session 0: 7 lost, 1 twice; connection 9 of session 0: 2 lost; and 1 more")
    assert {second.elapsed_s: second.lost for second in run.series if second.lost} == {3.0: 6, 5.0: 3}
    assert sum(second.lost for second in run.series) == 9


def once(name: str, *values_us: int):
    return summary(histograms=Histograms({wire.LATENCY: histogram(*range(1000, 2000)), name: histogram(*values_us)}))


@pytest.mark.parametrize("name", [wire.CONNECT, wire.RECONNECT, wire.E2E])
def test_what_happens_once_a_connection_is_compared_with_a_finite_tolerance(name):
    quick, slow = once(name, *range(1000, 1100)), once(name, *range(3000, 3300))
    rows = {row.metric: row for row in compare(quick, slow).rows if row.metric.startswith(name)}
    assert {row.change for row in rows.values()} == {Change.WORSE}
    assert all(0 < row.tolerance <= MAX_TOLERANCE for row in rows.values())
    assert not compare(slow, quick).is_worse
    alike = compare(quick, once(name, *range(1100, 1200)))
    assert {row.change for row in alike.rows if row.metric.startswith(name)} == {Change.SAME}


def test_a_replay_says_what_it_could_pair_and_where_it_could_not():
    plan = msgspec.structs.replace(PLAN, kind="replay", rate=None)
    mute = summary(plan=plan, ledger=Ledger(), histograms=Histograms())
    assert (
        "none could be paired with what was sent, so neither latency nor loss is known" in dict(facts(mute))["replies"]
    )
    paired = summary(plan=plan, ledger=Ledger())
    assert dict(facts(paired))["replies"] == "1,000 of 10,000 messages paired with what was sent"


def test_an_invalid_run_is_not_compared():
    invalid = summary(generator=Generator(doubts=("no processor left",)))
    for pair in ((invalid, summary()), (summary(), invalid)):
        with pytest.raises(InvalidRunError, match="is an invalid run and says nothing: no processor left"):
            compare(*pair)

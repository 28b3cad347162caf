"""What a report and its verdict make of those who came back to their sessions."""

from __future__ import annotations

import pytest

from loadtest.reports.figures import facts
from loadtest.summary import Summary, Verdict
from loadtest.thresholds import parse_threshold
from loadtest.verdicts import summarise
from loadtest.wire import Measured, Phase, Plan, RecoveryLedger, RunProgress

WHOLE = {"asked": 8, "resumed": 8, "unrecovered": 0, "confirmed": 8, "replayed": 24, "lost": 0, "doubled": 0}
UNMEASURED = {"confirmed": 0, "replayed": None, "lost": None, "doubled": None}


def summary(*rules: str, kind: str = "reconnect", **changes) -> Summary:
    plan = Plan(run_id="r", kind=kind, url="ws://127.0.0.1:9/", connections=8, rate=8.0)
    numbers = dict.fromkeys(("connections_failed", "connections_lost", "sent", "received"), 0)
    numbers |= dict.fromkeys(("peak_connections", "connections_opened"), 8)
    recovery = None if changes.pop("is_none", False) else RecoveryLedger(**{**WHOLE, **changes})
    measured = Measured(run_id="r", started_at_ms=0, steady_s=1.0, recovery=recovery, **numbers)
    steady = RunProgress(
        **dict.fromkeys(("sent", "received", "errors"), 0),
        **dict.fromkeys(("elapsed_s", "sent_per_s", "received_per_s"), 0.0),
        phase=Phase.STEADY,
        connected=8,
        wanted=8,
    )
    return summarise(plan, measured, [steady], [parse_threshold(rule) for rule in rules])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "8 of 8 resumed; events: 24 replayed, 0 lost, 0 doubled"),
        (
            {"resumed": 5, "unrecovered": 3},
            "5 of 8 resumed, 3 told that history is gone; events: 24 replayed, 0 lost, 0 doubled",
        ),
        (UNMEASURED, "8 of 8 resumed; not measured: replayed, lost, doubled"),
        (
            {"confirmed": 0, "lost": None},
            "8 of 8 resumed; events: 24 replayed, 0 doubled; not measured: lost",
        ),
        (
            {"confirmed": 7},
            "8 of 8 resumed; events: 24 replayed, 0 lost, 0 doubled; "
            "1 connection may miss more, since nothing came there afterwards",
        ),
        ({"is_none": True}, "not measured: no connection came back to a session that keeps its events"),
    ],
)
def test_the_report_names_what_was_measured_and_what_was_not(changes, words):
    found = summary(**changes)
    assert dict(facts(found))["recovery"] == words
    assert found.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lost": 2}, "2 events of sessions never came, and no recovered: false said so."),
        ({"doubled": 1}, "1 event of sessions came twice."),
    ],
)
def test_what_was_lost_or_doubled_fails_a_run_without_rules(changes, reason):
    found = summary(**changes)
    assert (found.verdict, found.reasons) == (Verdict.FAILED, (reason,))


@pytest.mark.parametrize("rule", ["resumed>=8", "replayed>=24", "events_lost<=0", "events_doubled<=0"])
def test_a_rule_about_it_holds_of_what_was_measured_alone(rule):
    assert summary(rule).verdict is Verdict.PASSED
    assert summary(rule, is_none=True).verdict is Verdict.FAILED
    (check,) = summary(rule, **{**UNMEASURED, "resumed": 0}).checks
    assert not check.passed
    assert check.actual == (0 if rule.startswith("resumed") else None)
    assert summary(rule, kind="heartbeat").checks[0].actual is None

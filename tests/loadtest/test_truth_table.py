"""A server with each known fault: a load test shows it exactly, and none that was not there."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from loadtest.summary import Verdict
from loadtest.verdicts import summarise
from tests.loadtest.driving import drive, lying_server, short_plan
from tests.loadtest.truthtable import COLUMNS, TRUTH_TABLE, Cell, Row, matches, shown, table

DOCS = Path(__file__).parents[2] / "docs" / "loadtest.md"
HANG_S = 30


def truth_of(url: str) -> dict[str, int]:
    with urlopen(f"http://{urlsplit(url).netloc}/truth", timeout=HANG_S) as response:
        told: dict[str, int] = json.load(response)
    return told


@pytest.mark.parametrize("row", TRUTH_TABLE, ids=lambda row: row.fault)
def test_a_fault_is_shown_exactly_and_no_other_is(row: Row):
    with lying_server(**row.lies) as url:
        plan = short_plan(url, row.kind, **row.plan)
        outcome = drive(plan)
        truth = truth_of(url) if "died" not in row.shows else {}
    summary = summarise(plan, outcome.measured, outcome.seconds)
    found = shown(summary, outcome.measured.histograms)
    for column in COLUMNS:
        assert matches(row.shows.get(column, 0), found.get(column, 0), truth), (column, found, summary.errors)
    assert tuple(summary.errors) == row.errors
    assert summary.heartbeats_missed == 0
    is_bad = any(column != "slow" for column in row.shows)
    # A generator that was held up on a busy machine says so itself.
    assert summary.verdict in (Verdict.FAILED if is_bad else Verdict.PASSED, Verdict.INVALID), summary.reasons


def test_a_bad_receiver_is_named_and_no_other_one():
    with lying_server(lose=3, only_first=True) as url:
        outcome = drive(short_plan(url, "broadcast"))
    (receiver,) = outcome.measured.receivers
    assert receiver.faults == {"lost": 10}
    assert outcome.measured.receivers_affected == 1
    assert sum(outcome.measured.lost_by_second.values()) == 10


def test_the_page_has_the_table_as_it_is():
    def word(cell: Cell) -> str:
        return "some" if isinstance(cell, range | str) else f"{cell}"

    assert "\n".join(table(word)) in DOCS.read_text()

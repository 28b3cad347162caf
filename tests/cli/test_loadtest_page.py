"""The page about load tests is complete and true: fields, metrics, and the example locustfile."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cli.options.load import DEFAULT_GRACE_MS
from loadtest import thresholds
from loadtest.histograms import Distribution
from loadtest.options import CONNECTIONS_A_SECOND
from loadtest.reports import write_reports
from loadtest.scenarios import SCENARIOS
from loadtest.search import CONFIRMATIONS
from loadtest.summary import Connections, Summary
from loadtest.thresholds import Check
from loadtest.verdicts import summarise
from loadtest.watching import SECONDS_IN_A_ROW
from loadtest.wire import Ledger, Measured, Plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "loadtest.md").read_text("utf-8")


def section(title: str) -> str:
    _, found, rest = PAGE.partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("struct", [Summary, Connections, Check, Distribution, Ledger], ids=lambda item: item.__name__)
def test_every_field_of_the_summary_is_named(struct):
    named = set(re.findall(r"`(\w+)`", section("Reports")))
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= named


def test_every_report_is_named(tmp_path):
    plan = Plan(run_id="r", kind="heartbeat", url="ws://h/", connections=1)
    counts = dict.fromkeys(("peak_connections", "connections_opened", "connections_failed", "connections_lost"), 0)
    measured = Measured(run_id="r", started_at_ms=0, steady_s=1, sent=0, received=0, **counts)
    written = {path.name for path in write_reports(summarise(plan, measured, []), tmp_path)}
    assert written == set(re.findall(r"^\| `([\w.]+)` \| [^|]*\|$", section("Reports").partition("`--json`")[0], re.M))


def test_every_metric_and_every_test_is_named():
    named = set(re.findall(r"`([\w.]+)`", section("Thresholds and verdict")))
    assert {*thresholds._LATENCIES, *thresholds.COUNTS} <= named
    assert {f".{statistic}" for statistic in thresholds._STATISTICS} <= set(re.findall(r"`(\.[\w.]+)`", PAGE))
    assert set(re.findall(r"^\| `(\w+)` \|", section("The tests"), re.M)) == set(SCENARIOS)


def test_the_numbers_in_the_text_are_those_of_the_code():
    assert f"{CONNECTIONS_A_SECOND} a second" in section("The tests")
    assert (DEFAULT_GRACE_MS, SECONDS_IN_A_ROW, CONFIRMATIONS) == (5000, 3, 2)  # "five", "three", "twice"


def test_the_example_uses_members_that_exist():
    names = ("measureduser.py", "user.py", "rawuser.py")
    source = "".join((ROOT / "loadtest" / "driver" / name).read_text("utf-8") for name in names)
    members = set(re.findall(r"^    def ([a-z]\w+)", source, re.M)) | set(
        re.findall(r"^    ([a-z]\w+)[:=\s]", source, re.M)
    )
    text = section("Your own scenarios")
    examples = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(examples) == 4
    for example in examples:
        compile(example, "scenario.py", "exec")
        assert set(re.findall(r"self\.(\w+)\(", example)) <= members
    assert set(re.findall(r"^\| `(\w+)\(", text, re.M)) <= members

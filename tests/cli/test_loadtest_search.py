"""`wsctl loadtest find-max` with a target or a generator that fails on the way, once or for good."""

from __future__ import annotations

import json
import subprocess

import pytest

from cli import loadsearch
from tests.cli.test_loadtest_verdicts import URL, loadtest  # noqa: F401 - a fixture
from tests.loadrun import HANG_S, WSCTL

RANGE = ("--start", "100", "--tolerance", "0.5", "--threshold", "rtt.p99<50ms")
FOUND = "100 connections hold, confirmed 2 times; 200 break rtt.p99<50ms"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between the tries."""
    monkeypatch.setattr(loadsearch, "REFUSED_PAUSE_S", 0.01)


@pytest.mark.parametrize(
    ("refusal", "after"),
    [
        ("exit=3&says=HTTP+503", 0),
        ("exit=3&says=HTTP+503", 3),
        ("exit=4&says=HTTP+403", 1),
        ("exit=4&says=HTTP+403", 3),
    ],
)
def test_a_refused_probe_is_tried_again_wherever_it_happens(loadtest, after, refusal):  # noqa: F811
    result = loadtest("find-max", f"{URL}knee=150&{refusal}&times=2&after={after}", *RANGE)
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == FOUND
    assert result.err.count("could not begin, trying again") == 2


@pytest.mark.parametrize(("exit_code", "code"), [(3, 3), (4, 4), (1, 1)])
def test_what_held_before_the_target_was_gone_is_told_with_the_reason(loadtest, exit_code, code):  # noqa: F811
    result = loadtest("find-max", f"{URL}exit={exit_code}&says=it+went&after=2", *RANGE)
    assert result.code == code
    assert result.out.splitlines()[0].endswith("; 200 connections held so far")
    assert result.err.splitlines()[-1].startswith("wsctl: ")
    assert "it went" in result.err.splitlines()[-1]


def test_a_target_that_never_was_there_is_an_error_with_its_reports(loadtest, tmp_path):  # noqa: F811
    result = loadtest("find-max", f"{URL}exit=3&says=connection+refused", *RANGE, "--out", "probes")
    assert (result.code, result.out) == (3, "")
    assert "connection refused" in result.err.splitlines()[-1]
    assert json.loads((tmp_path / "probes" / "probe-01-100" / "summary.json").read_text())["verdict"] == "failed"


def test_a_token_that_never_worked_is_not_tried_again(loadtest):  # noqa: F811
    result = loadtest("find-max", f"{URL}exit=4&says=AUTH_INVALID", *RANGE)
    assert result.code == 4
    assert "trying again" not in result.err


def test_too_few_samples_are_no_limit_of_the_generator_even_if_it_was_late_once(loadtest):  # noqa: F811
    result = loadtest("find-max", f"{URL}samples=50&late_sends=1", *RANGE)
    assert result.code == 98
    assert result.out.startswith("1 cannot be judged: rtt.p99<50ms cannot be told of 50 samples")
    late = loadtest("find-max", f"{URL}late_sends=50", *RANGE)
    assert late.out.startswith("the generator cannot drive 1: rtt.p99<50ms lies within")


def test_what_this_machine_does_not_allow_is_the_generators_limit(loadtest):  # noqa: F811
    result = loadtest("find-max", f"{URL}limit=150", *RANGE)
    assert result.code == 98
    assert (
        result.out.splitlines()[0] == "at least 100 connections hold; at 200 the generator is the limit: too few files"
    )


def test_a_machine_that_allows_too_few_files_makes_a_run_invalid(tmp_path):
    limited = ("bash", "-c", 'ulimit -n 150 && exec "$@"', "bash", WSCTL, "loadtest")
    command = [*limited, "heartbeat", "--serve", "--connections", "60", "--out", "reports"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, cwd=tmp_path)
    assert done.returncode == 98, done.stderr
    assert "but the limit is 150: raise it with ulimit -n, or use more processes" in done.stdout
    assert json.loads((tmp_path / "reports" / "summary.json").read_text())["verdict"] == "invalid"

"""What `wsctl loadtest` makes of what its driver reports; the driver here reports what the URL asks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.main import main
from loadtest import running
from wscore.audio import AudioFormat
from wscore.wav import Wav, write_wav

HANG_S = 60
ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_driver.py")
URL = "ws://127.0.0.1:9/socket.io/?"
# The command as a process of its own, as it is but for the driver that it starts.
PROGRAM = f"""
import sys
from loadtest import running
running.DRIVER = (sys.executable, {str(FAKE)!r})
from cli.main import main
main()
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


LoadTest = Callable[..., Result]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def loadtest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> LoadTest:
    """Run the command in this process, for speed."""
    for name in [name for name in os.environ if name.startswith("WSCTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "DRIVER", (sys.executable, str(FAKE)))

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["wsctl", "loadtest", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start it as a process that can be interrupted."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "loadtest", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=clean | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_bare_command_runs_both_tests_and_prints_a_verdict_for_each(loadtest):
    result = loadtest(URL + "seconds=3")
    assert result.code == 0, result.err
    verdicts = [line for line in result.out.splitlines() if line.startswith("PASSED")]
    assert verdicts == [f"PASSED  heartbeat {URL}seconds=3", f"PASSED  broadcast {URL}seconds=3"]
    assert "latency.p99<100ms: holds (1 ms)" in result.out


def test_as_json_the_quick_test_is_one_document(loadtest, tmp_path):
    result = loadtest("--json", "--out", "reports", URL)
    document = json.loads(result.out)
    assert {kind: item["verdict"] for kind, item in document.items()} == {"heartbeat": "passed", "broadcast": "passed"}
    assert (tmp_path / "reports" / "heartbeat" / "summary.json").exists()
    assert (tmp_path / "reports" / "broadcast" / "report.html").exists()


def test_the_quick_test_fails_if_a_round_trip_takes_too_long(loadtest):
    result = loadtest(URL + "latency_us=200000")
    assert result.code == 99
    assert result.out.count("FAILED") == 2
    assert "latency.p99<100ms: missed" in result.out


def test_without_a_threshold_errors_and_losses_fail_a_run(loadtest):
    result = loadtest("heartbeat", URL + "errors=3")
    assert (result.code, "RATE_LIMITED ×3" in result.out) == (99, True)
    assert loadtest("broadcast", URL + "lost=1").code == 99


def test_a_run_that_the_generator_could_not_drive_is_98_whatever_the_thresholds_say(loadtest):
    result = loadtest("heartbeat", URL + "doubt=no+processor+left", "--threshold", "rtt.p99<1us")
    assert result.code == 98
    assert result.out.startswith("INVALID  heartbeat")
    assert "  no processor left\n" in result.out


def test_the_worse_of_the_two_quick_tests_decides(loadtest):
    assert loadtest(URL + "doubt=x&kinds=broadcast").code == 98
    assert loadtest(URL + "lost=1&kinds=broadcast").code == 99


@pytest.mark.parametrize(
    ("query", "code", "line"),
    [
        (
            "exit=3&says=connection+refused",
            3,
            "wsctl: no server at ws://127.0.0.1:9/socket.io/?exit=3&says=connection+refused: connection refused; "
            "`wsctl serve` starts one, or add --serve",
        ),
        ("exit=4&says=AUTH_INVALID:+bad", 4, "wsctl: the server refused the token: AUTH_INVALID: bad"),
        ("exit=1&says=out+of+files", 1, "wsctl: the load driver failed with 1: out of files"),
    ],
)
def test_a_driver_that_gives_up_is_one_line(loadtest, query, code, line):
    result = loadtest("heartbeat", URL + query)
    assert (result.code, result.out) == (code, "")
    assert result.err.splitlines()[1:] == [line]


def test_abort_on_fail_does_without_a_value_and_ends_the_run_early(loadtest):
    url = URL + "latency_us=200000&seconds=600&second=0.01"
    result = loadtest("heartbeat", "--abort-on-fail", url, "--threshold", "rtt.p99<50ms", "--json")
    assert result.code == 99, result.err
    summary = json.loads(result.out)
    assert summary["wasInterrupted"]
    assert len(summary["series"]) < 300
    assert "rtt.p99<50ms is broken: ending the run" in result.err


def test_a_run_that_was_aborted_fails_even_if_it_is_good_as_a_whole(loadtest):
    url = URL + "seconds=600&second=0.01"  # 100 messages in each second, 200 a second in all
    rules = ("--threshold", "rate>=150", "--threshold", "rtt.p99<1s")
    result = loadtest("heartbeat", "--abort-on-fail=2s", url, *rules, "--duration", "5s")
    assert result.code == 99
    assert result.out.splitlines()[:2] == [
        f"FAILED  heartbeat {url}",
        "  The run was interrupted; this is what ran until then.",
    ]
    assert "  rate>=150 was broken, which ended the run.\n" in result.out
    assert "rate>=150: holds (200)" in result.out


def test_a_baseline_that_was_better_makes_it_99(loadtest):
    assert loadtest("heartbeat", URL, "--out", "before").code == 0
    result = loadtest("heartbeat", URL + "latency_us=9000", "--baseline", "before", "--out", "after")
    assert result.code == 99
    assert result.out.splitlines()[:2] == [f"FAILED  heartbeat {URL}latency_us=9000", "  The run is worse than before."]
    assert "latency p99 1.00 ms 9.01 ms +80" in result.err
    assert loadtest("heartbeat", URL + "doubt=x&latency_us=9000", "--baseline", "before").code == 98
    assert loadtest("heartbeat", URL + "seconds=3", "--baseline", "before/summary.json").code == 0


def test_compare_prints_a_table_and_says_when_the_runs_are_not_alike(loadtest):
    loadtest("heartbeat", URL, "--out", "a")
    loadtest("heartbeat", URL + "latency_us=9000", "--out", "b", "--connections", "7", "--rate", "100")
    worse = loadtest("compare", "a", "b")
    assert worse.code == 99
    lines = worse.out.splitlines()
    assert lines[0] == "worse than before"
    assert "  connections: 100 and 7" in lines
    assert any(line.split()[:2] == ["latency", "p99"] and line.endswith("worse") for line in lines)
    assert loadtest("compare", "b", "a").code == 0
    document = json.loads(loadtest("compare", "a", "b", "--json").out)
    assert (document["isWorse"], document["sameConfiguration"]) == (True, False)
    same = loadtest("compare", "a/summary.json", "a")
    assert (same.code, same.out.splitlines()[0]) == (0, "not worse than before")


def test_an_interrupt_before_anything_was_measured_is_130(start):
    process = start("heartbeat", URL + "seconds=600&second=0.2&nothing=1")
    for line in process.stderr:
        if " ramp " in line:
            break
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=HANG_S)
    assert (process.returncode, printed) == (130, "")
    assert said.endswith("wsctl: interrupted before anything was measured\n")


def test_find_max_finds_the_knee_and_names_what_limits_it(loadtest, tmp_path):
    arguments = ("--start", "100", "--tolerance", "0.5", "--out", "probes", "--threshold", "rtt.p99<50ms")
    result = loadtest("find-max", "heartbeat", URL + "knee=150", *arguments)
    assert result.code == 0, result.err
    verdict = "100 connections hold, confirmed 2 times; 200 break rtt.p99<50ms"
    assert result.out.splitlines()[0] == verdict
    assert (tmp_path / "probes" / "probe-01-100" / "summary.json").exists()


def test_find_max_says_how_many_callers_fit(loadtest, tmp_path):
    (tmp_path / "question.wav").write_bytes(write_wav(Wav(AudioFormat(), b"\x00\x40" * 16_000)))
    result = loadtest("find-max", "voice", URL + "knee=3", "--wav", "question.wav")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "3 callers hold, confirmed 2 times; 4 break answer.p50<2s"
    assert "3 callers, 1.0 s of speech" in result.err


def test_find_max_by_rate_keeps_the_connections(loadtest):
    arguments = ("--by", "rate", "--start", "10", "--step", "10", "--tolerance", "0.5", "--connections", "7", "--json")
    result = loadtest("find-max", URL + "knee=15", *arguments, "--threshold", "rtt.p99<50ms")
    document = json.loads(result.out)
    assert (document["level"], document["broken"], document["stop"]) == (10, 20, "threshold")
    assert (document["limits"], document["confirmed"], document["by"]) == (["rtt.p99<50ms"], 2, "rate")
    assert [probe["level"] for probe in document["probes"]] == [10, 20, 20, 10, 10]
    assert "7 connections, 20 messages/s" in result.err


def test_find_max_that_meets_the_generators_limit_is_98(loadtest):
    result = loadtest("find-max", URL + "doubt=no+processor+left", "--start", "1")
    assert result.code == 98
    assert result.out.splitlines()[0] == "the generator cannot drive 1: no processor left"


def test_find_max_of_a_server_that_holds_nothing_is_99(loadtest):
    result = loadtest("find-max", URL + "lost=5", "--start", "1")
    assert result.code == 99
    assert result.out.splitlines()[0] == "nothing holds: lost<=0"


def test_find_max_that_is_interrupted_tells_what_held_so_far(start):
    process = start("find-max", URL + "seconds=3&second=0.2", "--start", "5")
    for line in process.stderr:
        if "5 connections held" in line:
            break
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, said
    assert printed.startswith("interrupted; 5 connections held so far")

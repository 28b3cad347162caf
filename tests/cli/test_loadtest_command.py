"""`wsctl loadtest` as a process, with the real driver against a real server: tiny runs, each for one promise."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.scenarios import SCENARIOS

HANG_S = 60
ROOT = Path(__file__).parents[2]
QUICKLY = ("--connections", "5", "--ramp", "100ms", "--duration", "1s", "--drain", "500ms")
FILES = {"summary.json", "summary.md", "timeseries.csv", "junit.xml", "report.html"}


def test_a_heartbeat_test_passes_and_its_summary_is_one_json_document(serving, wsctl, tmp_path):
    server = serving()
    rules = ("--threshold", "rtt.p99<10s", "--threshold", "errors<=0")
    result = wsctl("loadtest", "heartbeat", server.url, *QUICKLY, "--rate", "100", *rules, "--out", "reports", "--json")
    assert result.returncode in (0, 98), result.stderr  # a machine that is busy may be called one
    (line,) = result.stdout.splitlines()
    summary = json.loads(line)
    assert (summary["kind"], summary["sent"], summary["received"]) == ("heartbeat", 100, 100)
    assert [check["passed"] for check in summary["checks"]] == [True, True]
    assert {path.name for path in (tmp_path / "reports").iterdir()} == FILES
    assert json.loads((tmp_path / "reports" / "summary.json").read_text()) == summary
    assert result.stderr.startswith(f"heartbeat {server.url}, 5 connections, 100 messages/s\n")
    assert "5/5 connections" in result.stderr


def test_a_missed_threshold_is_99_and_the_verdict_is_the_first_line(serving, wsctl):
    server = serving()
    result = wsctl("loadtest", "broadcast", server.url, *QUICKLY, "--rate", "20", "--threshold", "delivery.p99<1us")
    assert result.returncode in (99, 98), result.stderr
    assert result.stdout.splitlines()[0] in (f"FAILED  broadcast {server.url}", f"INVALID  broadcast {server.url}")
    assert "delivery.p99<1us: missed" in result.stdout
    assert "expected 100, lost 0 (0.000%), twice 0, out of order 0" in result.stdout


def test_where_nothing_listens_it_says_how_to_start_a_server_and_exits_with_3(wsctl):
    result = wsctl("loadtest", "ws://127.0.0.1:9")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-1] == (
        "wsctl: no server at ws://127.0.0.1:9/: connection refused; `wsctl serve` starts one, or add --serve"
    )


def test_a_refused_token_exits_with_4_and_shows_no_token(serving, wsctl):
    server = serving("--guests", "off", WSCTL_JWT_SECRET="a secret for tests, 32 bytes or more")
    result = wsctl("loadtest", "heartbeat", server.url, *QUICKLY, WSCTL_TOKEN="eyJhbGciOiJIUzI1NiJ9.e30.secretpart")
    assert result.returncode == 4, result.stderr
    assert "AUTH_INVALID" in result.stderr.splitlines()[-1]
    assert "secretpart" not in result.stderr


@pytest.mark.slow
def test_serve_starts_a_server_that_takes_its_users(wsctl):
    secret = {"WSCTL_JWT_SECRET": "a secret for tests, 32 bytes or more"}
    result = wsctl("loadtest", "heartbeat", "--serve", "--users", *QUICKLY, "--json", **secret)
    assert result.returncode in (0, 98), result.stderr
    summary = json.loads(result.stdout)
    assert summary["connections"]["opened"] == 5
    assert summary["serverRssKib"][0] > 1000


def test_ctrl_c_ends_with_the_report_of_what_ran(serving, start_wsctl):
    server = serving()
    arguments = ("--connections", "5", "--ramp", "100ms", "--duration", "1h", "--drain", "200ms", "--json")
    process = start_wsctl("loadtest", "heartbeat", server.url, *arguments)
    for line in process.stderr:
        if " steady " in line:
            break
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=HANG_S)
    assert process.returncode in (0, 98), said
    summary = json.loads(printed)
    assert summary["wasInterrupted"]
    assert summary["received"] == summary["sent"]
    assert summary["steadyS"] < HANG_S


@pytest.mark.slow
def test_a_recording_is_played_by_each_connection(serving, wsctl, tmp_path):
    lines = [f'{{"type":"message","timestamp":1,"data":{n},"sentAtMs":{1000 + n * 100}}}\n' for n in range(3)]
    (tmp_path / "r.jsonl").write_text("".join(lines))
    arguments = ("--connections", "4", "--ramp", "100ms", "--drain", "200ms", "--speed", "2", "--json")
    result = wsctl("loadtest", "replay", "r.jsonl", serving().url, *arguments, "--duration", "1s")
    assert result.returncode in (0, 98), result.stderr
    assert json.loads(result.stdout)["sent"] >= 24


@pytest.mark.parametrize("offsets_ms", [(0,), pytest.param((0, 1200), marks=pytest.mark.slow)])
def test_without_a_duration_a_recording_is_played_once_and_to_its_last_message(offsets_ms, serving, wsctl, tmp_path):
    lines = [f'{{"type":"message","timestamp":1,"data":1,"sentAtMs":{1000 + offset}}}\n' for offset in offsets_ms]
    (tmp_path / "r.jsonl").write_text("".join(lines))
    arguments = ("--connections", "3", "--ramp", "100ms", "--drain", "200ms", "--json")
    result = wsctl("loadtest", "replay", "r.jsonl", serving().url, *arguments)
    assert result.returncode in (0, 98), result.stderr
    assert json.loads(result.stdout)["sent"] == 3 * len(offsets_ms)


def test_the_command_imports_neither_locust_nor_gevent():
    code = "import cli.loadtest, cli.loadcommands, cli.loadsearch, cli.loadreport, sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = {name.partition(".")[0] for name in result.stdout.split()}
    assert "loadtest" in modules
    assert not modules & {"locust", "gevent"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["heartbeat", "--threshold", "speed<5"], "there is no metric 'speed'"),
        (["heartbeat", "--rate", "5", "--think", "1s"], "either a rate or a pause"),
        (["heartbeat", "http://x"], "did you mean ws://?"),
        (["ws://x", "--serve"], "a URL is given too"),
        (["heartbeat", "--stages", "5"], "write them as 100:30s,500:1m"),
        (["heartbeat", "--baseline", "missing.json"], "missing.json: No such file"),
        (["heartbeat", "--abort-on-fail", "2s"], "'2s' is not a ws:// or wss:// URL"),
        (["heartbeat", "--out", "/dev/null/x"], "--out: /dev/null/x"),
        (["replay", "missing.jsonl"], "missing.jsonl: No such file"),
        (["find-max", "soak"], "'soak' cannot be searched"),
        (["find-max", "--start", "5", "--ceiling", "2"], "--start"),
        (["find-max", "voice"], "--wav: is missing; name a WAV file"),
        (["find-max", "voice", "--by", "rate", "--wav", "a.wav"], "--by: callers speak as fast as people do"),
        (["voice", "missing.wav"], "missing.wav: No such file"),
        (["compare", "a", "b"], "a: No such file"),
        (["haertbeat"], "haertbeat"),
        (["--tokn", "x"], "--tokn"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(wsctl, arguments, expected):
    result = wsctl("loadtest", *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_table_in_wsctl_toml_sets_the_options_of_a_test(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[loadtest.heartbeat]\nthreshold = ["speed<5"]\n')
    assert "there is no metric 'speed'" in wsctl("loadtest", "heartbeat").stderr
    (tmp_path / "wsctl.toml").write_text("[loadtest.heartbeat]\nduration = 5\n")
    assert "[loadtest.heartbeat] duration" in wsctl("loadtest", "heartbeat").stderr


@pytest.mark.parametrize("name", ["quick", *SCENARIOS, "find-max", "compare"])
def test_help_of_each_test_fits_80_columns(wsctl, name):
    result = wsctl("loadtest", name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in result.stdout


def test_a_storm_says_what_was_resumed_replayed_lost_and_doubled(serving, wsctl):
    server = serving()
    rules = [f"--threshold={rule}" for rule in ("resumed>=5", "replayed>=15", "events_lost<=0", "events_doubled<=0")]
    result = wsctl("loadtest", "reconnect", server.url, *QUICKLY, *rules, "--json")
    assert result.returncode in (0, 98), result.stderr
    summary = json.loads(result.stdout)
    assert summary["recovery"] == {
        "asked": 5,
        "resumed": 5,
        "unrecovered": 0,
        "confirmed": 5,
        "replayed": 15,
        "lost": 0,
        "doubled": 0,
    }
    assert [check["passed"] for check in summary["checks"]] == [True] * 4


@pytest.mark.slow
def test_a_storm_at_a_server_without_recovery_shows_nothing_as_measured(serving, wsctl):
    server = serving("--recovery-messages", "0")
    result = wsctl("loadtest", "reconnect", server.url, *QUICKLY, "--threshold", "events_lost<=0")
    assert result.returncode in (99, 98), result.stderr
    words = " ".join(result.stdout.split())
    assert "recovery not measured: no connection came back to a session that keeps its events" in words
    assert "events_lost<=0 was missed: nothing of the kind was measured" in words

"""What a load test leaves for CI: files also without a target, GitHub's summary and annotations, Prometheus' text."""

from __future__ import annotations

import json
import re
import socket
from urllib.error import HTTPError
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest

from tests.cli.test_loadtest_verdicts import HANG_S, URL, loadtest, start  # noqa: F401 - fixtures

NOWHERE = ("ws://127.0.0.1:9/socket.io/?exit=3&says=connection+refused", 3)


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        (("heartbeat", NOWHERE[0]), "."),
        ((NOWHERE[0],), "heartbeat"),
        (("find-max", NOWHERE[0], "--start", "7"), "probe-01-7"),
    ],
    ids=["a test", "the quick test", "find-max"],
)
def test_an_unreachable_target_leaves_a_summary_and_a_junit_file(loadtest, tmp_path, arguments, directory):  # noqa: F811
    result = loadtest(*arguments, "--out", "reports")
    assert result.code == NOWHERE[1]
    place = tmp_path / "reports" / directory
    summary = json.loads((place / "summary.json").read_text())
    assert summary["verdict"] == "failed"
    assert re.match(r"no (server at|connection to) ws://127.0.0.1:9/.*connection refused", summary["reasons"][0])
    suite = ElementTree.parse(place / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "connection refused" in suite.findtext("testcase/failure")
    assert (place / "report.html").exists()


def test_github_gets_the_summary_and_a_line_for_each_reason(loadtest, tmp_path, monkeypatch):  # noqa: F811
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    result = loadtest("broadcast", URL + "lost=5&errors=2", "--github", "--json")
    assert result.code == 99
    json.loads(result.out)
    lines = [line for line in result.err.splitlines() if line.startswith("::")]
    title = "title=wsctl loadtest broadcast%3A failed"
    assert lines == [f"::error {title}::5 messages were lost.", f"::error {title}::2 errors occurred."]
    assert step.read_text().startswith("before\n# broadcast load test: failed\n")
    good = loadtest("heartbeat", URL, "--github")
    assert "::notice title=wsctl loadtest heartbeat%3A passed::Every rule held." in good.err
    odd = loadtest("heartbeat", URL + "doubt=100+%25+of+it", "--github")
    assert "::warning title=wsctl loadtest heartbeat%3A invalid::100 %25 of it" in odd.err


def test_github_is_told_of_a_target_that_is_not_there(loadtest, monkeypatch):  # noqa: F811
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    result = loadtest("heartbeat", NOWHERE[0], "--github")
    assert result.code == 3
    assert "::error title=wsctl loadtest heartbeat%3A failed::no server at ws://127.0.0.1:9/" in result.err
    assert "no GITHUB_STEP_SUMMARY: the summary of the step is left out" in result.err


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_running_test_is_shown_to_prometheus(start):  # noqa: F811
    port = free_port()
    process = start("broadcast", URL + "seconds=600&second=0.2", "--metrics-port", str(port))
    for line in process.stderr:
        if " steady " in line:
            break
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = response.read().decode()
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"http://127.0.0.1:{port}/other", timeout=HANG_S)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['wsctl_loadtest_phase{phase="steady"}']) == 1
    assert float(values['wsctl_loadtest_connections{state="open"}']) == 100
    assert float(values["wsctl_loadtest_sent_total"]) >= 200
    assert float(values['wsctl_loadtest_faults_total{fault="misdelivered"}']) == 0
    typed = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(dict(typed)) == len(typed)
    assert {name for name, kind in typed if kind == "counter"} == {n for n, _ in typed if n.endswith("_total")}


def test_a_metrics_port_that_is_taken_is_named(loadtest):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = loadtest("heartbeat", URL, "--metrics-port", str(port))
    assert result.code == 2
    assert f"--metrics-port: {port}: " in result.err

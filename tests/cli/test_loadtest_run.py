"""`wsctl loadtest run`: people's own Locust users, as a process, with all that the other tests have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_loadtest_two_hosts import unused_port
from tests.loadrun import HANG_S, WSCTL, LoadRun, run_loadtest
from tests.loadtest.driving import lying_server

SHORT = ("--connections", "3", "--ramp", "100ms", "--duration", "1500ms", "--drain", "300ms", "--json")

CHAT = """
    from locust import constant, task
    from loadtest import EnvelopeUser

    class Guest(EnvelopeUser):
        wait_time = constant(0.03)

        def on_start(self):
            self.connect("lobby")

        @task
        def talk(self):
            text = f"hello from {id(self)}"
            self.send("message", {"text": text, "pub": 0, "seq": 0})
            said = self.expect("message", timeout_s=5, where=lambda message: message.data["text"] == text)
            self.check(said.type == "message", "what was said")

        @task
        def alive(self):
            self.request("ping", {"timestamp": 0}, timeout_s=2)
"""


Run = Callable[..., LoadRun]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Write a scenario and run it."""

    def run(text: str, *arguments: str) -> LoadRun:
        (tmp_path / "scenario.py").write_text(textwrap.dedent(text))
        return run_loadtest(tmp_path, "run", "scenario.py", *arguments, *SHORT)

    return run


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_own_users_have_histograms_a_ledger_and_a_verdict(processes, run, tmp_path):
    with lying_server() as url:
        result = run(CHAT, url, "--processes", processes, "--threshold", "step.p50<2s", "--out", "reports")
    summary = result.summary
    assert result.failures == []
    assert [check["passed"] for check in summary["checks"]] == [True]
    ledger = summary["ledger"]
    assert ledger["expected"] == ledger["received"] > 20
    steps = {"expect message", "request ping"}
    assert steps < summary["latencies"].keys()
    assert sum(summary["latencies"][step]["count"] for step in steps) == ledger["received"]
    assert summary["latencies"]["latency"]["count"] == ledger["received"]
    assert (summary["connections"]["opened"], summary["connections"]["lost"], summary["errors"]) == (3, 0, {})
    assert "request ping" in (tmp_path / "reports" / "summary.md").read_text()


def test_replies_that_do_not_come_are_lost_and_named(run):
    scenario = CHAT.replace("timeout_s=2", "timeout_s=0.1")
    with lying_server(lose=3) as url:
        result = run(scenario, url)
    summary = result.summary
    lost = summary["errors"]["request ping: no reply within 0.1 s"]
    assert summary["ledger"]["lost"] in (lost, lost - 1, lost - 2, lost - 3)  # errors of the ramp count as errors alone
    assert f"{summary['ledger']['lost']:,} messages were lost." in result.failures


def test_a_check_that_does_not_hold_fails_the_run(run):
    with lying_server() as url:
        result = run(CHAT.replace('said.type == "message"', "False"), url)
    assert set(result.summary["errors"]) == {"check what was said: does not hold"}
    assert result.summary["verdict"] in ("failed", "invalid")
    assert result.failures == [f"{sum(result.summary['errors'].values()):,} errors occurred."]


def test_a_broadcast_of_which_nothing_comes_to_anybody_has_a_hint(tmp_path):
    load = ("--connections", "2", "--ramp", "100ms", "--duration", "1s", "--drain", "100ms", "--sessions", "1")
    with lying_server(delay_ms=60_000) as url:
        result = run_loadtest(tmp_path, "broadcast", url, *load)
    assert "an app has to handle message" in " ".join(result.out.split())


def test_an_exception_of_the_scenario_is_an_error_without_a_traceback(run):
    with lying_server() as url:
        result = run(CHAT.replace("timeout_s=2", "timeout_s=2, nonsense=1"), url)
    line = textwrap.dedent(CHAT).splitlines().index('        self.request("ping", {"timestamp": 0}, timeout_s=2)') + 1
    words = "EnvelopeUser.request() got an unexpected keyword argument 'nonsense'"
    assert set(result.summary["errors"]) == {f"TypeError in Guest (scenario.py:{line}): {words}"}
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_own_users_speak_in_rooms_and_what_is_refused_is_told_in_words(run):
    scenario = """
        from locust import constant, task
        from loadtest import EnvelopeUser

        class Member(EnvelopeUser):
            wait_time = constant(0.03)

            def on_start(self):
                self.connect()
                self.request("room.join", {"room": "kitchen"})

            @task
            def say(self):
                self.send("message", "hello", room="kitchen")
                said = self.expect("message", timeout_s=5)
                self.check((said.room, said.data) == ("kitchen", "hello"), "it came by the room")

            @task
            def intrude(self):
                self.request("message", "hello", room="cellar")
    """
    with serving() as url:
        result = run(scenario, f"{url}/socket.io/")
    errors = result.summary["errors"]
    assert result.summary["latencies"]["expect message"]["count"] > 5
    refusals = [text for text in errors if text.startswith("request message: FORBIDDEN: ")]
    assert len(refusals) == 1, errors
    assert "cellar" in refusals[0]
    assert set(errors) <= {refusals[0], "FORBIDDEN"}


def test_a_raw_user_speaks_to_any_server(run):
    scenario = """
        from locust import constant, task
        from loadtest import RawUser

        class Echo(RawUser):
            wait_time = constant(0.02)

            def on_start(self):
                self.connect()

            @task
            def text(self):
                self.check(self.request("hello", name="hello") == "hello", "the echo")

            @task
            def binary(self):
                self.send(bytes(3), name="zeros")
                self.check(self.expect(5, where=lambda message: message == bytes(3)) == bytes(3), "the bytes")
        """
    with serving("--echo-path", "/echo") as place:
        result = run(scenario, f"{place}/echo", "--protocol", "raw")
    summary = result.summary
    assert result.failures == []
    assert summary["ledger"]["expected"] == summary["ledger"]["received"] > 10
    assert {"request hello", "expect message"} < summary["latencies"].keys()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_that_name", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def (", "SyntaxError"),
        ("x = 1", "has no user that is an EnvelopeUser or a RawUser"),
    ],
)
def test_a_file_that_cannot_be_run_is_refused_with_the_place(text, words, run):
    with lying_server() as url:
        result = run(text, url)
    assert result.code == 2, result.err
    assert "scenario.py" in result.err
    assert words in result.err
    assert "Traceback" not in result.err


MEMORY = """
    import gc, gevent, pathlib, sys
    from locust.env import Environment
    from loadtest import EnvelopeUser, RawUser

    class Guest(EnvelopeUser):
        abstract = False
        host = sys.argv[1]

        def on_start(self):
            self.connect(f"room-{id(self)}")

    class Raw(RawUser):
        abstract = False
        host = sys.argv[1]

        def on_start(self):
            self.connect()

    def pages():
        gc.collect()
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1])

    kind = {"EnvelopeUser": Guest, "RawUser": Raw}[sys.argv[2]]
    users = []

    def come(count):
        fresh = [kind(Environment(user_classes=[kind])) for _ in range(1)] if not users else []
        environment = users[0].environment if users else fresh[0].environment
        fresh += [kind(environment) for _ in range(count - len(fresh))]
        users.extend(fresh)
        gevent.joinall([gevent.spawn(user.on_start) for user in fresh], raise_error=True)

    come(50)
    before = pages()
    come(200)
    print((pages() - before) * 4 / 200)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("kind", "path"), [("EnvelopeUser", "/socket.io/"), pytest.param("RawUser", "/echo", marks=pytest.mark.slow)]
)
def test_a_user_takes_little_memory(kind, path, tmp_path):
    (tmp_path / "memory.py").write_text(textwrap.dedent(MEMORY))
    with serving("--echo-path", "/echo") as place:
        command = [sys.executable, "memory.py", place + path, kind]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100  # KiB; it was 1,800 once


class serving:  # noqa: N801 - used as a function
    """Run `wsctl serve` with options and give ws://HOST:PORT."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> str:
        command = [WSCTL, "serve", "--port", "0", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"ws://[0-9.]+:[0-9]+", line):
                return found[0]
        raise AssertionError("it did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=HANG_S)


PINGS = """
    from locust import constant, task
    from loadtest import EnvelopeUser

    class Guest(EnvelopeUser):
        wait_time = constant(0.02)

        def on_start(self):
            self.connect("lobby")

        @task
        def alive(self):
            self.request("ping", {"timestamp": 0}, timeout_s=0.2)
"""


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("lies", "fault", "reason"),
    [
        pytest.param({"repeat": 3}, "duplicated", "messages came twice.", marks=pytest.mark.slow),
        ({"misroute": 3}, "misdelivered", "messages came to a session or connection they were not for."),
        ({"lose": 3}, "lost", "messages were lost."),
        pytest.param({"delay_one_in": 10, "slow_ms": 400}, "late", "messages came too late.", marks=pytest.mark.slow),
    ],
)
def test_replies_to_own_users_are_judged_as_those_of_built_in_tests(lies, fault, reason, processes, run):
    with lying_server(**lies) as url:
        result = run(PINGS, url, "--processes", processes, "--drain", "700ms")
    ledger = result.summary["ledger"]
    assert ledger[fault] > 0
    others = {"lost", "late", "duplicated", "misdelivered", "unknown"} - {fault}
    # One that went elsewhere is lost, and so is a late one to a user that has left meanwhile.
    assert {name for name in others if ledger[name]} <= ({"lost"} if fault in ("misdelivered", "late") else set())
    assert any(text.endswith(reason) for text in result.failures), result.failures
    assert sum(receiver["faults"].get(fault, 0) for receiver in result.summary["receivers"]) in (0, ledger[fault])


@pytest.mark.slow
def test_own_users_come_back_where_lost_connections_are_to(run):
    with lying_server(close_after=40, close_code=4003) as url:
        again = """
        def on_reconnect(self):
            self.request("ping", {"timestamp": 1})
            self.check(False, "it is back")
"""
        result = run(PINGS + again, url, "--reconnect")
    summary = result.summary
    assert summary["errors"].pop("check it is back: does not hold") == 3
    assert (summary["connections"]["lost"], summary["connections"]["opened"]) == (3, 6)
    assert summary["latencies"]["reconnect"]["count"] == 3
    assert sum(summary["errors"].values()) <= 3  # what was under way
    assert summary["ledger"]["received"] > 40
    assert summary["closeReasons"] == {"4003": 3}


@pytest.mark.parametrize(
    ("lies", "rule", "code"),
    [
        ({"repeat": 3}, "duplicates<=0", 99),
        pytest.param({"lose": 3}, "lost<=0", 99, marks=pytest.mark.slow),
        ({"delay_ms": 150}, "step.p50<100ms", 99),
        pytest.param({"delay_ms": 50}, "step.p50<2s", 0, marks=pytest.mark.slow),
        pytest.param({}, "misdelivered<=0", 0, marks=pytest.mark.slow),
        ({}, "step.p99.99<2s", 98),
    ],
)
def test_thresholds_decide_about_own_users_too(lies, rule, code, run, tmp_path):
    with lying_server(**lies) as url:
        result = run(PINGS, url, "--threshold", rule, "--out", "reports")
    assert result.code in (code, 98), result.summary["reasons"]
    assert [check["passed"] for check in result.summary["checks"]] == [code == 0]
    assert rule in (tmp_path / "reports" / "junit.xml").read_text().replace("&lt;", "<")


@pytest.mark.slow
def test_workers_of_a_master_run_the_users_of_their_own_files_and_the_master_judges_all(start_wsctl, tmp_path):
    (tmp_path / "scenario.py").write_text(textwrap.dedent(CHAT.replace("timeout_s=2", "timeout_s=0.2")))
    port = unused_port()
    with lying_server(lose=3) as url:
        load = ("run", "scenario.py", url, "--connections", "6", "--ramp", "200ms", "--duration", "2s")
        workers = [start_wsctl("loadtest", *load, "--worker", f"127.0.0.1:{port}", "--json") for _ in range(2)]
        master = start_wsctl("loadtest", *load, "--master", str(port), "--expect-workers", "2", "--json")
        out, err = master.communicate(timeout=HANG_S)
        parts = [worker.communicate(timeout=HANG_S) for worker in workers]
    assert master.returncode in (99, 98), err
    summary = json.loads(out)
    assert (summary["connections"]["peak"], summary["connections"]["opened"]) == (6, 6)
    lost = summary["steps"]["request ping"]["lost"]
    assert 0 < lost == summary["ledger"]["lost"]
    assert f"{lost:,} messages were lost." in summary["reasons"]
    assert {who["connection"] for who in summary["receivers"]} <= set(range(6))
    shares = [json.loads(out)["steps"]["request ping"]["lost"] for out, _ in parts]
    assert sum(shares) == lost
    assert {worker.returncode for worker in workers} <= {99, 98}  # each judges its own share

"""Locust beside the traffic: its web UI has true totals, and people's own locustfiles work under its command."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.loadtest.driving import HANG_S, drive_until_steady_then, driver, lying_server, outcome, short_plan

LOCUST = Path(sys.executable).with_name("locust")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_the_web_ui_shows_the_run_and_changes_nothing():
    port = free_port()
    with lying_server() as url:
        plan = short_plan(url, connections=4, web_port=port, duration_s=60.0)

        def try_to_change(process: subprocess.Popen[bytes]) -> None:
            for path in ("swarm", "stop", "stats/reset"):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", b"user_count=1", method="POST")
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    urllib.request.urlopen(request, timeout=HANG_S)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=HANG_S) as answer:
                state = json.load(answer)
            assert (state["state"], state["user_count"]) == ("running", 4)
            process.send_signal(2)

        result = drive_until_steady_then(plan, try_to_change)
    assert result.measured.connections_lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_web_ui_of_locust_shows_the_users_and_every_message(processes):
    port = free_port()
    with lying_server(lose=None) as url:
        plan = short_plan(url, connections=6, rate=300.0, web_port=port, duration_s=60.0, processes=processes)
        with driver(plan) as process:
            assert process.stdout is not None
            seen, entries, state = b"", {}, {}
            while entries.get("ping", {}).get("num_requests", 0) < 300:
                line = process.stdout.readline()
                assert line, seen
                seen += line
                if b'"steady"' in line:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=HANG_S) as answer:
                        state = json.load(answer)
                    entries = {entry["name"]: entry for entry in state["stats"]}
            process.send_signal(2)
            result = outcome(process, seen)
    assert (state["state"], state["user_count"]) == ("running", 6)
    assert entries["connect"]["num_requests"] == 6
    assert 300 <= entries["ping"]["num_requests"] <= result.seconds[-1].received
    assert 0 < entries["ping"]["avg_response_time"] <= entries["ping"]["max_response_time"]
    assert entries["Aggregated"]["num_requests"] == entries["ping"]["num_requests"] + 6


def run_locustfile(folder: Path, text: str, url: str, *, users: int = 2) -> tuple[dict[str, dict[str, str]], str]:
    """Run a locustfile for some seconds; returns Locust's table by name, and what it said."""
    (folder / "locustfile.py").write_text(textwrap.dedent(text))
    options = ["--headless", "-u", str(users), "-r", "10", "-t", "5", "--host", url, "--csv", "out", "--only-summary"]
    result = subprocess.run([LOCUST, *options], cwd=folder, capture_output=True, text=True, timeout=HANG_S)
    with (folder / "out_stats.csv").open() as table:
        return {f"{row['Type']} {row['Name']}".strip(): row for row in csv.DictReader(table)}, result.stderr


@pytest.mark.slow
def test_an_envelope_user_works_in_an_ordinary_locustfile(tmp_path):
    scenario = """
        from locust import constant, task
        from loadtest import EnvelopeUser

        class Chatter(EnvelopeUser):
            wait_time = constant(0.05)

            def on_start(self):
                assert self.connect("lobby").data["sessionId"] == "lobby"
                self.heard = []
                self.on("transcript", self.heard.append)

            @task
            def talk(self):
                assert self.request("ping", {"timestamp": 1}).type == "pong"
                text = f"hello from {id(self)}"
                self.send("message", {"text": text, "pub": 0, "seq": 0})
                said = self.expect("message", timeout_s=5, where=lambda message: message.data["text"] == text)
                assert said.user_id == "someone"
        """
    with lying_server(ping_first=True) as url:
        rows, words = run_locustfile(tmp_path, scenario, url)
    assert rows["CONNECT connect"]["Request Count"] == "2"
    for name in ("REQUEST ping", "SEND message", "EXPECT message"):
        assert int(rows[name]["Request Count"]) > 4
    assert rows["Aggregated"]["Failure Count"] == "0"
    assert "Traceback" not in words


@pytest.mark.slow
def test_a_reply_that_does_not_come_is_a_failure_with_the_time_it_took(tmp_path):
    scenario = """
        from locust import constant, task
        from loadtest import EnvelopeUser

        class Waiter(EnvelopeUser):
            wait_time = constant(5)

            def on_start(self):
                self.connect()

            @task
            def ask(self):
                self.request("nothing", {"pub": 0, "seq": 0}, timeout_s=0.3)
        """
    with lying_server() as url:
        rows, _ = run_locustfile(tmp_path, scenario, url, users=1)
    assert rows["REQUEST nothing"]["Failure Count"] == "1"
    assert 300 <= float(rows["REQUEST nothing"]["Min Response Time"]) < 2000


@pytest.mark.slow
def test_a_user_whose_connection_is_refused_says_why(tmp_path):
    scenario = """
        from locust import constant, task
        from loadtest import EnvelopeUser

        class Guest(EnvelopeUser):
            wait_time = constant(5)

            @task
            def come(self):
                self.connect()
        """
    with lying_server(refuse_with=4001, error_code="AUTH_INVALID") as url:
        rows, words = run_locustfile(tmp_path, scenario, url, users=1)
    assert rows["CONNECT connect"]["Failure Count"] == "1"
    assert "4001 authentication failed, AUTH_INVALID" in (tmp_path / "out_failures.csv").read_text() + words


def test_the_package_itself_imports_nothing_heavy():
    code = "import sys, loadtest; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert not {"locust", "gevent", "msgspec", "asyncio"} & set(result.stdout.split())

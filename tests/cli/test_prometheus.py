"""Prometheus of Debian scrapes a server with two workers as docs/operations.md has it, and the files in deploy/ fit."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.cli.conftest import HANG_S
from tests.cli.operators import Member

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/alerts.yaml"
ALERT_TESTS = ROOT / "deploy/alerts_test.yaml"
DASHBOARD = ROOT / "deploy/grafana-dashboard.json"
CONFIG = ROOT / "deploy/prometheus.yml"
RUNBOOK = ROOT / "docs/operations.md"
KEY = "0123456789abcdef-reader"
PINGS = 3
START_S = 60  # of Prometheus, on a busy machine


def program(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}, of Debian's package prometheus")
    return path


def expressions():
    """Return what the dashboard asks, as Grafana would send it."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    for name, value in {"$__rate_interval": "1m", "$job": "wsctl", "$instance": ".*"}.items():
        asked = [text.replace(name, value) for text in asked]
    assert not [text for text in asked if "$" in text]
    return asked


def alerts():
    return re.findall(r"^ +- alert: (\w+)$", ALERTS.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def scraped(start_wsctl, redis):
    """A server with two workers, a Redis, a key to read, three clients and a refused one: its URL, and the port's."""
    process = start_wsctl(
        *("serve", "--port", "0", "--ops-port", "0", "--workers", "2", "--broker", redis.url),
        WSCTL_OPS_KEY="0123456789abcdef-operator",
        WSCTL_OPS_READ_KEY=KEY,
    )
    urls = {}
    for line in process.stderr:
        if line.startswith("wsctl serves "):
            urls["server"] = line.split()[2]
        if line.startswith("  ops:"):
            urls["ops"] = line.split()[1]
            break
    with ExitStack() as stack:
        members = [Member(stack, urls["server"], "a", "hall") for _ in range(3)]
        for _ in range(PINGS):
            members[0].ws.send('{"type":"ping","timestamp":1}')
            members[0].receive("pong")
        with connect(f"{urls['server']}?token=guest_x", proxy=None) as refused, suppress(ConnectionClosed):
            while True:
                refused.recv(HANG_S)
        yield urls["ops"]


def metrics_of(url):
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    families = text_string_to_metric_families(answer.raise_for_status().text)
    return [sample for family in families for sample in family.samples]


def test_every_metric_of_the_alerts_and_the_dashboard_exists_with_its_labels(scraped):
    samples = metrics_of(scraped)
    names = {sample.name for sample in samples}
    labels = {pair for sample in samples for pair in sample.labels.items()}
    for text in (ALERTS.read_text("utf-8"), *expressions()):
        assert set(re.findall(r"\bwsctl_\w+", text)) - names == set()
        found = re.findall(r'\b(disconnect|reason|outcome|direction|type)="([^"]*)"', text)
        assert set(found) - labels == set()
        for clause in re.findall(r"\bby \(([^)]*)\)", text):
            known = {name for name, _ in labels} | {"job", "instance"}
            assert set(clause.split(", ")) - known == set()


def test_prometheus_scrapes_both_workers_and_answers_what_the_dashboard_asks(scraped, tmp_path):
    prometheus = program("prometheus")
    config = CONFIG.read_text("utf-8")
    assert f"```yaml\n{config}```\n" in RUNBOOK.read_text("utf-8")
    (tmp_path / "ops-read.key").write_text(KEY)
    for written, meant in (
        ("/etc/prometheus/ops-read.key", str(tmp_path / "ops-read.key")),
        ("/etc/prometheus/wsctl-alerts.yaml", str(ALERTS)),
        ("127.0.0.1:9100", scraped.removeprefix("http://")),
        ("15s", "300ms"),
    ):
        assert config.count(written) == 1, written
        config = config.replace(written, meant)
    often = config.replace("global:\n", "global:\n  evaluation_interval: 1s\n")
    (tmp_path / "prometheus.yml").write_text(often)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            *(prometheus, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"),
            *(f"--web.listen-address={address}", "--log.level=error"),
        ],
        cwd=tmp_path,
    )
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False, timeout=HANG_S) as client:
            deadline = time.monotonic() + START_S

            def query(asked):
                answer = client.get("/query", params={"query": asked}).raise_for_status().json()
                assert answer["status"] == "success"
                return answer["data"]["result"]

            def until(asked, value):
                found = None
                while found != value:
                    assert process.poll() is None
                    assert time.monotonic() < deadline, f"{asked} is {found}"
                    try:
                        results = query(asked)
                    except httpx.HTTPError:  # it starts
                        results = []
                    found = float(results[0]["value"][1]) if results else None
                    time.sleep(0.05)

            until('sum(wsctl_connections{job="wsctl"})', 3)
            until("count(wsctl_worker_up == 1)", 2)
            until('sum(wsctl_messages_total{direction="in", type="ping"})', PINGS)
            until("count(count_over_time(wsctl_loop_lag_seconds_count[1m]) > 2)", 2)
            for asked in expressions():
                results = query(asked)
                assert results or asked.endswith("> 0"), asked
            groups = client.get("/rules").json()["data"]["groups"]
            assert [rule["name"] for group in groups for rule in group["rules"]] == alerts()
            while not all(rule["health"] == "ok" for group in groups for rule in group["rules"]):
                assert time.monotonic() < deadline, groups
                assert not [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]
                time.sleep(0.2)
                groups = client.get("/rules").json()["data"]["groups"]
            firing = {rule["name"] for group in groups for rule in group["rules"] if rule["state"] == "firing"}
            assert firing == set()
    finally:
        process.kill()
        process.wait()


def test_each_alert_fires_for_what_it_is_for_and_for_nothing_else():
    promtool = program("promtool")
    for check in (("check", "rules", ALERTS), ("test", "rules", ALERT_TESTS)):
        done = subprocess.run([promtool, *check], capture_output=True, text=True, cwd=ALERTS.parent, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = re.findall(r"^  - name: (\w+) (fires|is quiet)$", ALERT_TESTS.read_text("utf-8"), re.MULTILINE)
    assert tested == [(name, how) for name in alerts() for how in ("fires", "is quiet")]


def test_what_the_dashboard_asks_is_valid(tmp_path):
    promtool = program("promtool")
    rules = [{"record": f"asked:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_of_the_dashboard_have_names_and_places_of_their_own():
    board = json.loads(DASHBOARD.read_text("utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["targets"]
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}


def test_the_runbook_says_of_each_alert_what_it_means_and_what_to_do():
    rows = re.findall(r"^\| `(Wsctl\w+)` \| ([^|]{20,}) \| ([^|]{20,}) \|$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _, _ in rows] == alerts()

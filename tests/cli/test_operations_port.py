"""`wsctl serve --ops-port`: probes, metrics and who may ask, of one process and of workers behind one port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from tests.cli.conftest import HANG_S, WSCTL, environment

KEY = "0123456789abcdef-operator"
READ_KEY = "0123456789abcdef-reader"


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def ops(start_wsctl):
    """Start a server with an operations port; returns the process and a client of the port."""
    clients = []

    def start(*options, host="127.0.0.1", **variables):
        process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *options, **variables)
        for line in process.stderr:
            if line.startswith("wsctl serves "):
                process.url = line.split()[2]
            if line.startswith("  ops:"):
                url = line.split()[1].replace("0.0.0.0", "127.0.0.1")
                break
        else:
            raise AssertionError(f"it ended: {process.wait()}")
        client = httpx.Client(base_url=url, timeout=HANG_S, trust_env=False)
        clients.append(client)
        return process, client

    yield start
    for client in clients:
        client.close()


def samples(client, name):
    families = text_string_to_metric_families(client.get("/metrics").raise_for_status().text)
    return [sample for family in families for sample in family.samples if sample.name == name]


def until(check):
    deadline = time.monotonic() + HANG_S
    while not check():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_one_process_is_alive_ready_and_counted(ops, wsctl):
    process, client = ops()
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"
    token = wsctl("token", "guest").stdout.strip()
    with connect(f"{process.url}?token={token}", proxy=None) as ws:
        ws.recv(HANG_S)
        (open_now,) = samples(client, "wsctl_connections")
        assert (open_now.value, open_now.labels) == (1, {})
    accepts = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get("/metrics", headers=accepts)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    strange = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=x; escaping=y"})
    assert "wsctl_connections" in strange.raise_for_status().text
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 0
    assert "Traceback" not in process.stderr.read()


def test_it_is_alive_and_not_ready_while_it_starts_and_while_it_ends(ops, start_wsctl, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import asyncio, contextlib, os\nfrom wsserver import App\napp = App()\n"
        "@app.lifespan\nasync def slow(hub):\n"
        "    while not os.path.exists('go'): await asyncio.sleep(0.01)\n"
        "    yield\n"
        "    while not os.path.exists('end'): await asyncio.sleep(0.01)\n"
    )
    options = ("serve", "slow:app", "--port", "0", "--ops-port", "0", "--log-format", "json", "--drain-timeout", "30s")
    process = start_wsctl(*options)
    url = process.stderr.readline().split('"url": "')[1].split('"')[0]
    with httpx.Client(base_url=url, timeout=HANG_S, trust_env=False) as client:
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
        (tmp_path / "go").touch()
        until(lambda: client.get("/readyz").status_code == 200)
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code == 503)
        assert client.get("/healthz").status_code == 200
        (tmp_path / "end").touch()
    assert process.wait(HANG_S) == 0


def test_with_workers_one_port_shows_all_and_a_lost_one_is_missing_until_it_is_back(ops, redis):
    process, client = ops("--workers", "2", "--broker", redis.url)
    assert client.get("/readyz").status_code == 200
    assert {sample.labels["worker"] for sample in samples(client, "wsctl_connections")} == {"0", "1"}
    pids = {int(pid) for pid in subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()}
    assert len(pids) == 2
    hung = pids.pop()
    os.kill(hung, signal.SIGSTOP)  # it lives, and answers nothing
    assert len(samples(client, "wsctl_connections")) == 1
    assert client.get("/readyz").status_code == 200
    missing = client.get("/api/v1/connections").json()["missing"]
    assert [name for name in missing if name.startswith("worker ")], missing
    for _ in range(2):  # whose turn it would be is passed over
        published = client.post("/api/v1/publish", json={"type": "x", "room": "a"})
        assert published.elapsed.total_seconds() < 10
        assert published.status_code == 200
    os.kill(hung, signal.SIGKILL)
    until(lambda: len(samples(client, "wsctl_connections")) == 2)
    redis.stop()
    until(lambda: client.get("/readyz").status_code == 503)
    assert client.get("/readyz").text == "not ready: the broker is not reached\n"
    assert client.get("/healthz").status_code == 200


def test_beyond_this_machine_a_key_is_required(wsctl, tmp_path):
    refused = wsctl("serve", "--port", "0", "--ops-port", "0", "--ops-host", "0.0.0.0")
    assert refused.returncode == 2
    assert "no key is set" in refused.stderr
    assert refused.stderr.count("\n") == 1
    for key in ("short", "two words that are long enough"):
        (tmp_path / "key").write_text(key)
        refused = wsctl("serve", "--port", "0", "--ops-port", "0", "--ops-key-file", "key")
        assert (refused.returncode, key in refused.stderr) == (2, False)
        assert refused.stderr.startswith("wsctl: --ops-key-file")
    assert "--ops-port" in wsctl("serve", "--ops-read-key-file", "key").stderr


def test_a_port_that_is_taken_is_told_before_anything_starts(ops, wsctl):
    _, client = ops()
    refused = wsctl("serve", "--port", "0", "--ops-port", str(client.base_url.port))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "cannot listen on" in refused.stderr


def test_keys_open_all_but_the_probes_and_are_shown_nowhere(ops):
    process, client = ops("--ops-host", "0.0.0.0", afresh=True, WSCTL_OPS_KEY=KEY, WSCTL_OPS_READ_KEY=READ_KEY)
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    for headers in (
        {},
        bearer("wrong"),
        {"Authorization": "Bearer"},
        bearer(KEY[:-1]),
        {"Authorization": f"Basic {KEY}"},
    ):
        for path in ("/metrics", "/api/v1/openapi.json", "/nothing"):  # nobody learns what is there
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["error"]["code"] == "UNAUTHORIZED"
    for key in (KEY, READ_KEY):
        assert client.get("/metrics", headers=bearer(key)).status_code == 200
        assert client.get("/nothing", headers=bearer(key)).status_code == 404
    command = subprocess.check_output(["ps", "-o", "args=", "-p", str(process.pid)], text=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 0
    log = process.stderr.read()
    assert 1 <= log.count("ops.refused peer=127.0.0.1 code=UNAUTHORIZED") < 15
    assert not [text for text in (log, command) if KEY in text or READ_KEY in text]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_without_a_key_no_web_page_gets_in(ops, headers):
    _, client = ops()
    assert client.get("/metrics", headers=headers).status_code == 403
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.get("/metrics", headers=own).status_code == 200


def test_without_its_packages_a_server_starts_and_the_port_says_what_is_missing(tmp_path):
    away = ("httptools", "starlette", "uvicorn")
    without = f"import sys\nfor name in {away}: sys.modules[name] = None\nfrom cli.main import main\nmain()"

    def run(*options):
        return subprocess.Popen(
            [sys.executable, "-c", without, "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(),
        )

    with run("--ops-port", "0") as refused:
        _, errors = refused.communicate(timeout=HANG_S)
    assert refused.returncode == 2
    assert "starlette" in errors
    assert "[ops]" in errors
    with run() as serving:
        assert serving.stderr is not None
        assert any(line.startswith("wsctl serves ") for line in serving.stderr)
        serving.terminate()
        serving.communicate(timeout=HANG_S)
    assert serving.returncode == 0


def test_a_server_without_the_port_loads_nothing_of_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *WSCTL[1:], "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    imported = set()
    assert process.stderr is not None
    for line in process.stderr:
        imported.add(line.rpartition("|")[2].strip())
        if line.startswith("wsctl serves "):
            break
    process.terminate()
    process.communicate(timeout=HANG_S)
    assert "wsserver.operations.node" in imported
    assert not imported & {"starlette", "uvicorn", "httptools"}

"""Keys with names at the operations port: who did what is in the log, and one is taken away while the server runs."""

from __future__ import annotations

import hashlib
import re
import secrets
import signal
import time
from itertools import takewhile

import httpx
import pytest

from tests.cli.conftest import HANG_S

PUBLISH = {"type": "news", "room": "lobby"}
OLD, NEW, LOOKS, SINGLE = (secrets.token_hex(16) for _ in range(4))


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def put(file, *lines):
    """Put a new file in its place in one step, as whoever exchanges keys should."""
    draft = file.with_suffix(".draft")
    draft.write_text("\n".join(lines))
    draft.replace(file)


@pytest.fixture
def ops(start_wsctl, tmp_path):
    """Start a server with a file of keys and one single key; its process and a client."""
    put(tmp_path / "ops.keys", f"ci write {OLD}", f"grafana read sha256:{hashlib.sha256(LOOKS.encode()).hexdigest()}")
    (tmp_path / "ops.key").write_text(f"{SINGLE}\n")
    clients = []

    def start(*options):
        files = ("--ops-keys-file", "ops.keys", "--ops-key-file", "ops.key")
        process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *files, *options)
        line = next(line for line in process.stderr if line.startswith("  ops:"))
        assert "(by 3 keys)" in line
        clients.append(httpx.Client(base_url=line.split()[1], timeout=HANG_S, trust_env=False))
        return process, clients[0]

    yield start
    for client in clients:
        client.close()


def published(client, key):
    return client.post("/api/v1/publish", json=PUBLISH, headers=bearer(key)).status_code


def until(check):
    deadline = time.monotonic() + HANG_S
    while not check():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def log_of(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 0
    log = process.stderr.read()
    assert not [key for key in (OLD, NEW, LOOKS, SINGLE) if key in log]
    return log


def test_each_key_has_its_right_and_its_name_in_the_log_and_one_is_exchanged(ops, tmp_path):
    process, client = ops()
    assert [published(client, key) for key in (OLD, LOOKS, SINGLE, NEW)] == [200, 403, 200, 401]
    assert client.get("/metrics", headers=bearer(LOOKS)).status_code == 200
    put(tmp_path / "ops.keys", f"ci write {OLD}", f"ci write {NEW}")  # both, until all have the new one
    until(lambda: published(client, NEW) == 200)
    assert [published(client, key) for key in (OLD, LOOKS)] == [200, 401]
    put(tmp_path / "ops.keys", f"ci write {NEW}")
    put(tmp_path / "ops.key", LOOKS)  # the single keys are followed too
    until(lambda: published(client, OLD) == 401)
    assert [published(client, key) for key in (NEW, SINGLE, LOOKS)] == [200, 401, 200]
    put(tmp_path / "ops.keys", "ci write")
    until(lambda: published(client, NEW) == 200)
    log = log_of(process)
    assert re.findall(r"ops\.act key=(\S+) .* result=(\S+)", log)[:3] == [
        *(("ci", "done"), ("grafana", "FORBIDDEN"), ("ops", "done"))
    ]
    assert set(re.findall(r"ops\.act key=(\S+)", log)) == {"ci", "grafana", "ops"}
    assert log.count("ops.keys_read keys=") == 2


def test_a_supervisor_reads_its_keys_again_and_loses_nobody_for_it(ops, redis, tmp_path):
    process, client = ops("--workers", "2", "--broker", redis.url, "--log-format", "text")
    assert published(client, OLD) == 200
    put(tmp_path / "ops.keys", f"ci write {NEW}")
    until(lambda: published(client, NEW) == 200)
    assert published(client, OLD) == 401
    put(tmp_path / "ops.keys", f"ci write {OLD}")
    process.send_signal(signal.SIGHUP)
    lines = iter(process.stderr)
    assert "ops.keys_read" in [*takewhile(lambda line: "workers.rolling" not in line, lines)][-1]
    assert published(client, OLD) == 200
    assert "workers.rolled" in next(line for line in lines if "workers.rolled" in line)


def test_a_file_that_cannot_be_used_is_told_before_anything_starts(wsctl, tmp_path):
    for line, told in ((f"ci {OLD}", ", line 1: is not a key with its name"), ("", ": holds no key")):
        (tmp_path / "ops.keys").write_text(line)
        refused = wsctl("serve", "--port", "0", "--ops-port", "0", "--ops-keys-file", "ops.keys")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith(f"wsctl: --ops-keys-file ops.keys{told}")
        assert OLD not in refused.stderr
    assert "--ops-port" in wsctl("serve", "--ops-keys-file", "ops.keys").stderr

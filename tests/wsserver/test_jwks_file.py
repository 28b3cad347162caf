"""Keys exchanged while the server runs: the JWKS file is read again, cheaply, and a broken one changes nothing."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from wscore.tokens import JwtKey
from wsserver.handshake.jwksfile import JwksFile
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog

KEYS = {name: ed25519.Ed25519PrivateKey.generate() for name in ("old", "new")}


def document(*kids: str) -> bytes:
    to_jwk = jwt.get_algorithm_by_name("EdDSA").to_jwk
    return json.dumps({"keys": [{**to_jwk(KEYS[kid].public_key(), as_dict=True), "kid": kid} for kid in kids]}).encode()


def token(kid: str, **header: str) -> str:
    claims = {"sub": kid, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, KEYS[kid], "EdDSA", headers={"kid": kid, **header})


def replace(file: Path, content: bytes) -> None:
    """Put a new file in its place in one step, as whoever exchanges keys should."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(content)
    draft.rename(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(document("old"))
    return path


@pytest.fixture
def clock() -> Any:
    """A monotonic clock that a test can turn, beside the real wall clock."""
    state = SimpleNamespace(ahead_s=0.0)
    state.now_s = lambda: time.monotonic() + state.ahead_s
    return state


@pytest.fixture
def follow(file: Path, clock: Any) -> Callable[[], tuple[JwtKey, JwksFile]]:
    def make() -> tuple[JwtKey, JwksFile]:
        key = JwtKey("EdDSA", jwks_json=file.read_bytes())
        return key, JwksFile(file, key, clock.now_s, EventLog())

    return make


async def who(open_raw, server, text: str) -> str:
    client = await open_raw(server.url, token=text)
    greeting = client.greeting
    return str(greeting["data"]["userId"] if greeting["type"] == "session_created" else greeting["data"]["code"])


async def test_new_keys_count_at_once_and_old_ones_no_longer_than_a_second(start_server, open_raw, engine, file, clock):
    key = JwtKey("EdDSA", jwks_json=file.read_bytes())
    server = await start_server(engine=engine, clock=Clock(now_s=clock.now_s), jwt_key=key, jwks_file=file)
    assert await who(open_raw, server, token("old")) == "old"
    assert await who(open_raw, server, token("new")) == "AUTH_INVALID"
    replace(file, document("old", "new"))
    assert await who(open_raw, server, token("new")) == "new"
    assert await who(open_raw, server, token("old")) == "old"
    replace(file, document("new"))
    clock.ahead_s += 1
    assert await who(open_raw, server, token("old")) == "AUTH_INVALID"


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (b"", "not a JWKS document with usable keys"),
        (b'{"keys": [', "not a JWKS document with usable keys"),
        (b'{"keys": [{"kty": "oct", "k": "AA"}]}', "holds no key for EdDSA"),
        (b" " * (2 << 20), "is larger than 1MiB"),
    ],
    ids=["empty", "cut", "none", "large"],
)
async def test_a_broken_file_keeps_the_old_keys_and_is_logged_once(
    start_server, open_raw, file, clock, caplog, broken, problem
):
    caplog.set_level(logging.INFO, "wsctl")
    key = JwtKey("EdDSA", jwks_json=file.read_bytes())
    server = await start_server(clock=Clock(now_s=clock.now_s), jwt_key=key, jwks_file=file)
    assert await who(open_raw, server, token("old")) == "old"
    replace(file, broken)
    for _ in range(3):
        clock.ahead_s += 1
        assert await who(open_raw, server, token("old")) == "old"
        assert await who(open_raw, server, token("new")) == "AUTH_INVALID"
    fields = [record.fields for record in caplog.records if record.message == "jwks.refused"]
    assert [(field["problem"], field["keys_kept"]) for field in fields] == [(problem, 1)]
    replace(file, document("new"))
    assert await who(open_raw, server, token("new")) == "new"


def test_a_file_that_goes_away_keeps_the_old_keys_until_it_is_back(follow, file, clock, caplog):
    caplog.set_level(logging.INFO, "wsctl")
    key, jwks = follow()
    file.unlink()
    for _ in range(3):
        assert not jwks.look(at_once=True)
    assert [record.fields["problem"] for record in caplog.records] == ["No such file or directory"]
    assert len(key) == 1
    file.write_bytes(document("old", "new"))
    assert jwks.look(at_once=True)
    assert len(key) == 2


def test_a_pipe_in_its_place_keeps_the_old_keys_and_holds_nobody_up(follow, file, caplog):
    key, jwks = follow()
    file.unlink()
    os.mkfifo(file)  # to open it would be to wait for somebody who writes
    for _ in range(3):
        assert not jwks.look(at_once=True)
    assert len(key) == 1
    assert [record.fields["problem"] for record in caplog.records] == ["is no regular file"]


def test_it_looks_once_a_second_and_reads_only_what_changed(follow, file, clock, monkeypatch):
    _, jwks = follow()
    jwks.look()
    looks, reads = [], []
    stat, read = Path.stat, Path.read_bytes
    monkeypatch.setattr(Path, "stat", lambda self: looks.append(1) or stat(self))
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(1) or read(self))
    for _ in range(100):
        jwks.look()
    assert (len(looks), len(reads)) == (0, 0)
    clock.ahead_s += 1
    for _ in range(100):
        jwks.look()
    assert (len(looks), len(reads)) == (1, 0)
    replace(file, document("new"))
    assert not jwks.look()
    assert jwks.look(at_once=True)
    assert (len(looks), len(reads)) == (2, 1)


def test_a_change_of_equal_size_and_time_is_seen(follow, file):
    key, jwks = follow()
    jwks.look()
    before = file.stat()
    replace(file, document("new"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert jwks.look(at_once=True)
    assert key.payload(token("new"))

"""The server that a load test starts."""

from __future__ import annotations

import os

import pytest

from cli import loadserver
from cli.loadserver import ServerDidNotStartError, serving
from wsclient import Client
from wscore.tokens import mint_jwt

SECRET = b"a secret for tests, 32 bytes or more"
HANG_S = 20


@pytest.fixture(autouse=True)
def _clean(tmp_path, monkeypatch):
    """Settings that would break it must not reach it."""
    for name in [name for name in os.environ if name.startswith("WSCTL_")]:
        monkeypatch.delenv(name)
    (tmp_path / "wsctl.toml").write_text('[serve]\nguests = "off"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WSCTL_UDS", "elsewhere")


async def test_it_serves_on_a_free_port_for_the_time_of_the_block():
    async with serving(None) as (url, pid), Client(url) as client:
        await client.send("message", "hello")
        assert await client.expect("message", str, timeout_s=HANG_S) == "hello"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_takes_jwts_of_the_secret():
    token = mint_jwt(SECRET, {"sub": "ann", "exp": 4_000_000_000})

    async def source() -> str:
        return token

    async with serving(SECRET) as (url, _), Client(url, token=source) as client:
        assert client.session.user_id == "ann"


async def test_it_is_stopped_when_the_run_fails():
    with pytest.raises(ValueError, match="of the run"):
        async with serving(None) as (_, pid):
            raise ValueError("of the run")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_that_does_not_start_is_an_error_with_its_last_words(monkeypatch):
    monkeypatch.setattr(loadserver, "_COMMAND", (*loadserver._COMMAND, "--guests", "signed"))
    with pytest.raises(ServerDidNotStartError, match="needs a secret"):
        async with serving(None):
            raise AssertionError("it started")

"""Real Sentinels name the master, with and without TLS, and another one once it is gone."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from contextlib import suppress
from urllib.parse import quote

import pytest
import redis as redis_py

from cli.options.scale import ScaleOptions
from tests.redisserver import free_port, tls_rows
from tests.wsserver.conftest import HANG_S
from wscore.errors import ConfigError
from wsserver.brokers.redislink import DIAL_TIMEOUT_S
from wsserver.brokers.redistarget import read_target

OF_MASTER, OF_SENTINEL = "geheim-und-lang", "w&chter/1"
FAILOVER = "sentinel down-after-milliseconds mymaster 300\nsentinel failover-timeout mymaster 3000\n"


@pytest.fixture
def certificate(make_certificate, monkeypatch):
    made = make_certificate("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.cert))
    return made


@pytest.fixture
def start_sentinel(tmp_path, redis):
    """Start a Sentinel of the master at a port: `start_sentinel(port, *tls_rows(...))`; returns its own port."""
    started = []

    def start(master: int, *rows: str, password: str = "", of_master: str = "") -> int:
        port = free_port()
        own = f"port 0\ntls-port {port}" if rows else f"port {port}"
        text = "\n".join((own, *rows, f"sentinel monitor mymaster 127.0.0.1 {master} 1", FAILOVER))
        if password:
            text += f"requirepass {password}\nsentinel auth-pass mymaster {of_master}\n"
        path = tmp_path / "sentinel.conf"
        path.write_text(f"dir {tmp_path}\nbind 127.0.0.1\n{text}")
        started.append(subprocess.Popen([redis.program, str(path), "--sentinel"], stdout=subprocess.DEVNULL))
        return port

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_over_tls_the_sentinel_and_the_master_that_it_names_are_reached(
    start_server, start_redis, start_sentinel, open_raw, certificate
):
    master = start_redis(certificate=certificate)
    port = start_sentinel(master.tls_port, *tls_rows(certificate))
    target = read_target(f"rediss+sentinel://127.0.0.1:{port}/mymaster/1")
    assert str(target) == f"rediss+sentinel://127.0.0.1:{port}/mymaster/1"
    server = await start_server(broker=target, broker_prefix="t:")
    client = await open_raw(server.url, session="s")
    await server.hub.published("note", 1, session="s")
    assert (await client.receive_type("note"))["seq"] == 1
    assert await target.address() == ("127.0.0.1", master.tls_port)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_sentinels_and_their_master_have_passwords_that_no_log_shows(
    start_server, start_redis, start_sentinel, open_raw, request, caplog, scheme
):
    caplog.set_level(logging.DEBUG)
    certificate = request.getfixturevalue("certificate") if scheme == "rediss" else None
    master = start_redis(certificate=certificate)
    with master.client as client:
        client.config_set("requirepass", OF_MASTER)
    rows = tls_rows(certificate) if certificate else []
    master_port = master.tls_port or master.port
    port = start_sentinel(master_port, *rows, password=OF_SENTINEL, of_master=OF_MASTER)
    url = f"{scheme}+sentinel://:{OF_MASTER}@127.0.0.1:{port}/mymaster/1"
    target = read_target(f"{url}?sentinel-password={quote(OF_SENTINEL)}")
    async with asyncio.timeout(HANG_S):
        while True:
            with suppress(ConnectionError):  # it starts
                assert await target.address() == ("127.0.0.1", master_port)
                break
            await asyncio.sleep(0.05)
    server = await start_server(broker=target, broker_prefix="t:")
    client = await open_raw(server.url, session="s")
    await server.hub.published("note", 1, session="s")
    assert (await client.receive_type("note"))["seq"] == 1
    problems = []
    for wrong in (url, f"{url}?sentinel-password=wrong", f"{url}?sentinel-password={OF_MASTER}"):
        with pytest.raises(ConnectionError, match="no Sentinel knows a master 'mymaster'") as caught:
            await read_target(wrong).address()
        problems.append(str(caught.value))
    with redis_py.Redis(port=master.port, password=OF_MASTER) as direct:
        direct.client_kill_filter(_type="pubsub")  # who comes back asks and logs in anew
    async with asyncio.timeout(HANG_S):
        while server.metrics.value("wsctl_broker_losses_total") < 1 or not server.is_ready:
            await asyncio.sleep(0.01)
    shown = repr([record.__dict__ for record in caplog.records]) + repr(problems) + repr(target) + str(target)
    for secret in (OF_MASTER, OF_SENTINEL, quote(OF_SENTINEL)):
        assert secret not in shown


async def test_a_sentinel_whose_certificate_nobody_trusts_is_not_believed(
    start_sentinel, certificate, monkeypatch, make_certificate
):
    master = free_port()
    url = f"rediss+sentinel://127.0.0.1:{start_sentinel(master, *tls_rows(certificate))}/mymaster"
    async with asyncio.timeout(HANG_S):
        while True:
            with suppress(ConnectionError):  # it starts
                assert await read_target(url).address() == ("127.0.0.1", master)
                break
            await asyncio.sleep(0.05)
    with pytest.raises(ConnectionError, match=r"a master 'other': 127\.0\.0\.1:\d+ has not heard of it$"):
        await read_target(url.replace("mymaster", "other")).address()
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate("127.0.0.1").cert))
    with pytest.raises(ConnectionError, match=r"^no Sentinel knows a master 'mymaster': .*certificate verify failed"):
        await read_target(url).address()


async def test_a_sentinel_that_is_gone_or_silent_leaves_time_for_the_next_one(start_sentinel, redis):
    port = start_sentinel(redis.port)
    async with asyncio.timeout(HANG_S):
        while True:
            with suppress(ConnectionError):  # it starts
                await read_target(f"redis+sentinel://127.0.0.1:{port}/mymaster").address()
                break
            await asyncio.sleep(0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gone = free_port()
        hosts = f"127.0.0.1:{gone},127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{port}"
        async with asyncio.timeout(DIAL_TIMEOUT_S):  # as whoever dials has
            assert await read_target(f"redis+sentinel://{hosts}/mymaster").address() == ("127.0.0.1", redis.port)


@pytest.mark.chaos
@pytest.mark.slow
async def test_a_master_that_is_gone_has_another_one_in_its_place(
    start_server, start_redis, start_sentinel, open_raw, redis
):
    replica = start_redis("--replicaof", "127.0.0.1", str(redis.port))
    port = start_sentinel(redis.port)
    server = await start_server(broker=read_target(f"redis+sentinel://127.0.0.1:{port}/mymaster"), broker_prefix="t:")
    client = await open_raw(server.url, session="s")
    await server.hub.published("note", 1, session="s")
    async with asyncio.timeout(3 * HANG_S):
        with redis_py.Redis(port=port) as sentinel, replica.client as direct:
            while not sentinel.sentinel_slaves("mymaster") or direct.info("replication")["master_link_status"] != "up":
                await asyncio.sleep(0.05)
        redis.kill()
        assert (await client.receive_type("note"))["data"] == 1
        while (await client.receive())["type"] != "recovery":
            pass
    assert (await server.hub.published("note", 2, session="s")).seq == 1
    assert (await client.receive_type("note"))["data"] == 2


def test_a_password_of_sentinels_is_not_taken_from_the_command_line(monkeypatch):
    url = f"redis+sentinel://h/service?sentinel-password={OF_MASTER}"
    monkeypatch.setattr(sys, "argv", ["wsctl", "serve", "--broker", url])
    with pytest.raises(ConfigError, match="holds a password, which others see in the list of processes") as caught:
        ScaleOptions(broker=[url]).targets()
    assert OF_MASTER not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rediss+sentinel://h",
        "rediss+sentinel:///service",
        "rediss+other://h/service",
        "redis+sentinel://h/service?password=x",
        "redis+sentinel://h/service?sentinel-password",
    ],
)
def test_what_names_no_sentinel_is_refused(url):
    with pytest.raises(ConfigError, match="is no URL of a Redis"):
        read_target(url)

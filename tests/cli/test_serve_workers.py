"""`wsctl serve --workers`: several processes at one port, restarted and exchanged without a lost connection."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from tests import forked
from tests.forked import environment
from tests.redisserver import RedisServer, redis_program
from wsserver.brokers.redistarget import read_list

HANG_S = 60
REVOKING = """
from wsserver import Context, Revocation
from wsserver.sdk.app import default_app

app = default_app()


@app.on("ban")
async def ban(ctx: Context, user_id: str) -> None:
    await ctx.hub.revoke(Revocation(user_id=user_id))
    ctx.reply("banned")
"""
LINE = re.compile(r"^\S+ (?:INFO|WARNING|ERROR) (\S+) ?(.*)$")


def guest():
    return f"guest_{uuid.uuid4()}_{time.time_ns() // 1_000_000}"


class Serving:
    """A supervisor, and what it says."""

    def __init__(self, process):
        self.process = process
        self.url = ""

    @property
    def workers(self):
        """The processes of its workers, which are all that it has for children."""
        children = subprocess.check_output(["pgrep", "-P", str(self.process.pid)], text=True)
        return sorted(map(int, children.split()))

    def until(self, event):
        """Read until an event was logged; returns its fields, as text."""
        for line in self.process.stderr:
            if line.startswith("wsctl serves "):
                self.url = line.split()[2]
            match = LINE.match(line)
            if match and match[1] == event:
                return dict(part.partition("=")[::2] for part in match[2].split())
        raise AssertionError(f"it ended without {event}: {self.process.poll()}")

    def banner(self):
        for line in self.process.stderr:
            if line.startswith("wsctl serves "):
                self.url = line.split()[2]
                return self.url
        raise AssertionError("it ended without a banner")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Two workers, whom every test leaves as two that serve."""
    program = redis_program()
    if program is None:
        pytest.skip("needs redis-server")
    folder = tmp_path_factory.mktemp("workers")
    (folder / "revoking.py").write_text(REVOKING)
    redis = RedisServer(program, folder, ()).start()
    arguments = ["serve", "revoking:app", "--port", "0", "--workers", "2", "--broker", redis.url]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with forked.start(arguments, cwd=folder, env=environment(), **pipes) as process:
        try:
            serving = Serving(process)
            serving.banner()
            yield serving
        finally:
            process.terminate()
            process.communicate(timeout=HANG_S)
            redis.stop()


@asynccontextmanager
async def session(url, name="s"):
    async with connect(f"{url}?token={guest()}&sessionId={name}", proxy=None) as ws:
        assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["type"] == "session_created"
        yield ws


async def test_the_greeting_names_the_worker_that_one_is_connected_to(serving):
    async def worker():
        async with connect(f"{serving.url}?token={guest()}", proxy=None) as ws:
            return json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["data"]["worker"]

    # The system chooses by the client's port: that forty come to one of two is one chance in 10^12.
    assert {await worker() for _ in range(40)} == {0, 1}


async def spread(url, count):
    """Open connections until each of the workers surely has some."""
    return [await connect(f"{url}?token={guest()}&sessionId=s", proxy=None) for _ in range(count)]


async def test_what_one_worker_hears_all_deliver(serving):
    sockets = await spread(serving.url, 12)
    for ws in sockets:
        await ws.recv()
    await sockets[0].send(json.dumps({"type": "message", "timestamp": 1, "data": "hello"}))
    for ws in sockets:
        assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["data"] == "hello"
        await ws.close()


async def test_a_worker_that_is_killed_is_replaced_and_nobody_is_refused_meanwhile(serving):
    before = serving.workers
    os.kill(before[0], signal.SIGKILL)
    tried = 0
    ended = asyncio.get_running_loop().run_in_executor(None, serving.until, "worker.serving")
    while not ended.done() or tried < 100:
        async with session(serving.url):
            tried += 1
    fields = await ended
    assert int(fields["pid"]) not in before
    assert serving.workers == sorted([before[1], int(fields["pid"])])


async def test_hangup_exchanges_the_workers_and_no_newcomer_notices(serving):
    before = serving.workers
    serving.process.send_signal(signal.SIGHUP)
    tried = 0
    rolled = asyncio.get_running_loop().run_in_executor(None, serving.until, "workers.rolled")
    while not rolled.done():
        async with session(serving.url):
            tried += 1
    await rolled
    assert tried > 10
    assert (len(serving.workers), set(serving.workers) & set(before)) == (2, set())


async def test_who_is_revoked_ends_at_every_worker_and_is_refused_by_those_that_start_later(serving):
    token = guest()
    sockets = [await connect(f"{serving.url}?token={token}", proxy=None) for _ in range(12)]
    async with session(serving.url) as operator:
        await operator.send(json.dumps({"type": "ban", "timestamp": 1, "data": token.rpartition("_")[0], "id": "b"}))
        while json.loads(await asyncio.wait_for(operator.recv(), HANG_S)).get("id") != "b":
            pass
    for ws in sockets:
        await asyncio.wait_for(ws.wait_closed(), HANG_S)
        assert ws.close_code == 4001
    os.kill(serving.workers[0], signal.SIGKILL)
    await asyncio.get_running_loop().run_in_executor(None, serving.until, "worker.serving")
    for _ in range(12):
        async with connect(f"{serving.url}?token={token}", proxy=None) as ws:
            assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["data"]["code"] == "AUTH_INVALID"
            await asyncio.wait_for(ws.wait_closed(), HANG_S)
            assert ws.close_code == 4001


def test_without_a_broker_there_is_one_process(wsctl):
    ended = wsctl("serve", "--workers", "3")
    assert ended.returncode == 2
    assert "--broker redis://127.0.0.1:6379" in ended.stderr


@pytest.mark.parametrize(
    "url", ["redis//x", "http://x", "redis://", "redis://h/x", "redis+sentinel://h", "redis://h:99999"]
)
def test_a_url_of_no_redis_is_told(wsctl, url):
    ended = wsctl("serve", "--broker", url)
    assert ended.returncode == 2
    assert "is no URL of a Redis" in ended.stderr


def test_a_wrong_setting_is_said_once_and_not_by_every_worker(wsctl, redis):
    ended = wsctl("serve", "no_such_app:app", "--workers", "2", "--broker", redis.url)
    assert ended.returncode == 2
    assert ended.stderr.count("no_such_app") == 1


def test_a_password_does_not_belong_on_a_command_line(wsctl):
    ended = wsctl("serve", "--broker", "redis://:secret@localhost")
    assert ended.returncode == 2
    assert "WSCTL_BROKER" in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.slow  # a start waits 10 s for its brokers
def test_the_one_of_several_brokers_that_is_away_is_named(wsctl, redis):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        ended = wsctl("serve", "--port", "0", WSCTL_BROKER=f"{redis.url} {away}")
        assert (ended.returncode, away in ended.stderr) == (3, True)


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_several_brokers_come_from_one_variable(wsctl, redis, between):
    ended = wsctl("serve", "--port", "0", WSCTL_BROKER=between.join((redis.url, redis.url)))
    assert (ended.returncode, "is given twice" in ended.stderr) == (2, True)
    ended = wsctl("serve", "--broker", redis.url, "--broker", f"{redis.url},redis://:secret@localhost")
    assert (ended.returncode, "WSCTL_BROKER" in ended.stderr, "secret" in ended.stderr) == (2, True, False)


def test_the_hosts_of_sentinels_are_no_list_of_brokers():
    sentinels = "redis+sentinel://one:1,two/mymaster/0"
    assert read_list(f"{sentinels},redis://three, unix:///four") == [sentinels, "redis://three", "unix:///four"]


def test_a_service_manager_is_told(start_wsctl, redis, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(HANG_S)
        serving = Serving(
            start_wsctl(
                *("serve", "--port", "0", "--workers", "2", "--broker", redis.url),
                NOTIFY_SOCKET=str(tmp_path / "notify"),
                WATCHDOG_USEC="200000",
            )
        )
        states = [manager.recv(1000).decode() for _ in range(3)]
        assert states == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        serving.process.send_signal(signal.SIGHUP)
        while not (state := manager.recv(1000).decode()).startswith("RELOADING=1\nMONOTONIC_USEC="):
            assert state == "WATCHDOG=1"
        while manager.recv(1000) != b"READY=1":
            pass
        serving.process.send_signal(signal.SIGTERM)
        while manager.recv(1000) != b"STOPPING=1":
            pass
        assert serving.process.wait(HANG_S) == 0
    assert {f"worker={number}" for number in range(2)} <= set(serving.process.stderr.read().split())

"""More connections than descriptors, all of them silent or slow, and none that ends: who means it still gets in."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

ROOT = Path(__file__).parents[2]
FILES = 1200
ATTACKERS = 1400
VICTIMS = 50
IN_TIME_S = 2.0
HANG_S = 60
SECRET = "a secret for tests, 32 bytes or more"

StartCrowded = Callable[..., tuple[str, Path]]


@pytest.fixture
def start_crowded(tmp_path) -> Iterator[StartCrowded]:
    """Start a `wsctl serve` that may open fewer files than there are attackers; returns its URL and its log."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> tuple[str, Path]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        log = tmp_path / "server.log"
        command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--log-format", "json", *arguments]
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(
                    command,
                    stderr=file,
                    cwd=tmp_path,
                    env=clean | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "WSCTL_JWT_SECRET": SECRET},
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
                )
            )
        deadline = time.monotonic() + HANG_S
        while True:
            for line in log.read_text().splitlines():
                if '"server.listening"' in line:
                    return json.loads(line)["url"], log
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    yield start
    for process in processes:
        process.kill()
        process.wait(HANG_S)


async def attack(host: str, port: int, trickle: bytes) -> None:
    """Hold a connection, a byte now and then, and come back soon after it was dropped."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                for byte in trickle:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.5)
                await reader.read()
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.5)


async def attack_together(host: str, port: str, trickle: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    await asyncio.gather(*(attack(host, int(port), trickle.encode()) for _ in range(ATTACKERS)))


@pytest.fixture
def start_attack() -> Iterator[Callable[[str, str], None]]:
    """Begin an attack from a process of its own, so that the victim does not wait for the attackers' event loop."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(url: str, trickle: str) -> None:
        parts = urlsplit(url)
        command = [sys.executable, __file__, str(parts.hostname), str(parts.port), trickle]
        processes.append(subprocess.Popen(command))

    yield start
    for process in processes:
        process.kill()
        process.wait(HANG_S)


async def tries_and_seconds(url: str, token: str, address: str) -> tuple[int, float]:
    """Connect as a client does that tries again; returns how often and how long it took."""
    began = time.monotonic()
    tries = 0
    async with asyncio.timeout(HANG_S):
        while True:
            tries += 1
            with suppress(OSError, WebSocketException):
                async with connect(f"{url}?token={token}", proxy=None, local_addr=(address, 0)) as ws:
                    assert json.loads(await ws.recv())["type"] == "session_created"
                    return tries, time.monotonic() - began


@pytest.mark.parametrize(
    "trickle", ["", pytest.param("GET /socket.io/ HTTP/1.1", marks=pytest.mark.slow)], ids=["idle", "slow"]
)
@pytest.mark.parametrize(
    ("profile", "victim"), [("dev", "127.0.0.1"), pytest.param("prod", "127.0.0.2", marks=pytest.mark.slow)]
)
async def test_1400_attackers_keep_nobody_out(
    start_crowded, start_attack, user_token, engine, profile, victim, trickle
):
    """In the prod profile the attackers' address has a limit of its own, in dev they share it with the victim."""
    url, log = start_crowded("--engine", engine.value, "--profile", profile)
    start_attack(url, trickle)
    async with asyncio.timeout(HANG_S):
        while "connections.dropped" not in log.read_text():  # the crowd is there
            await asyncio.sleep(0.05)
    came = [await tries_and_seconds(url, user_token(), victim) for _ in range(VICTIMS)]
    assert max(seconds for _, seconds in came) < IN_TIME_S, came
    assert sum(tries for tries, _ in came) <= VICTIMS * 1.1, came
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert not [line for line in lines if line["event"] == "server.descriptors"]
    assert not [line for line in lines if "traceback" in line]


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(attack_together(*sys.argv[1:]))

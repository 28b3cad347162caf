"""A server without a file descriptor left: who is there stays, who comes waits, and the log stays readable."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import WebSocketException

from wscore.guest import mint_guest_token

ROOT = Path(__file__).parents[2]
LIMIT = 60
HANG_S = 30
WATCHED_S = 2.2
UPGRADE = (
    "GET {path}?token={token} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def guest() -> str:
    return mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)


class Server:
    """A `wsctl serve` that may open only so many files."""

    def __init__(self, engine: str, loop: str, directory: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        self.log = directory / "server.log"
        start = "from cli.main import main; main()"
        if loop == "asyncio":
            start = f"import sys; sys.modules['uvloop'] = None; {start}"
        command = [sys.executable, "-c", start, "serve", "--port", "0", "--engine", engine, "--log-format", "json"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stderr=log,
                stdout=subprocess.DEVNULL,
                cwd=directory,
                env=clean | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT)),
            )
        deadline = time.monotonic() + HANG_S
        while "server.listening" not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.url: str = json.loads(self.log.read_text().splitlines()[0])["url"]

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(params=["uvloop", "asyncio"])
def limited(request, engine, tmp_path) -> Iterator[Server]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")  # not on Windows
    server = Server(engine.value, request.param, tmp_path)
    yield server
    server.process.kill()
    server.process.wait(HANG_S)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_it_recovers_and_says_so_once_a_second(limited, neighbour_of):
    neighbour = await neighbour_of(limited.url)
    parts = urlsplit(limited.url)
    crowd = []
    for _ in range(LIMIT + 40):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        # One that asks for nothing would be dropped for the next.
        writer.write(UPGRADE.format(path=parts.path, host=parts.netloc, token=guest()).encode())
        crowd.append((reader, writer))
    before_s = limited.cpu_s()
    started = time.monotonic()
    # Time in which a spinning loop or a flooded log would show; longer where the server seldom gets its turn.
    while time.monotonic() - started < WATCHED_S or limited.log.read_text().count("server.descriptors") < 2:
        assert time.monotonic() - started < HANG_S, limited.log.read_text()
        await neighbour.notices_nothing()
        await asyncio.sleep(0.1)
    took_s = time.monotonic() - started
    spent_s = limited.cpu_s() - before_s
    for _, writer in crowd:
        writer.close()
    for _, writer in crowd:
        with suppress(ConnectionError):
            await writer.wait_closed()
    async with asyncio.timeout(HANG_S):  # it frees their descriptors when it sees that they are gone
        while True:
            with suppress(OSError, EOFError, WebSocketException):
                late = await neighbour_of(limited.url)
                break
            await asyncio.sleep(0.05)
    await late.notices_nothing()
    await neighbour.notices_nothing()
    lines = [json.loads(line) for line in limited.log.read_text().splitlines()]
    about = [line for line in lines if line["event"] == "server.descriptors"]
    said_at = [datetime.fromisoformat(line["time"]) for line in about]
    assert len(said_at) >= 2, lines
    assert all(later - sooner >= timedelta(seconds=0.9) for sooner, later in pairwise(said_at)), said_at
    assert {line["level"] for line in lines} == {"info", "warning"}
    assert not any("traceback" in line for line in lines)
    assert spent_s < took_s * 0.5, "it spins while it waits"

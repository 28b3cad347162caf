"""500 come each second while workers crash or are exchanged: nobody is refused, and nobody's connect is lost."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import threading
import time
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.chaos

HANG_S = 60
RATE = 500
MAX_UNDER_WAY = 3000
CRASHES = 4
APP = """
import os
from pathlib import Path
from wsserver import App

if Path("crash").exists():
    os._exit(3)
app = App()
"""
LINE = re.compile(r"^\S+ (?:INFO|WARNING|ERROR) (\S+) ?(.*)$")


@dataclass(frozen=True)
class Failed:
    """A connect that came to nothing, and when."""

    began_s: float
    ended_s: float
    how: str


class Serving:
    """A supervisor and what it has said so far, which a thread reads."""

    def __init__(self, process) -> None:
        self.process = process
        self.url = ""
        self._said: list[tuple[str, dict[str, str]]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            if line.startswith("wsctl serves "):
                self.url = line.split()[2]
            if match := LINE.match(line):
                self._said.append((match[1], dict(part.partition("=")[::2] for part in match[2].split())))

    def end(self) -> None:
        self.process.terminate()
        self._thread.join(HANG_S)

    def said(self, event: str) -> list[dict[str, str]]:
        return [fields for name, fields in tuple(self._said) if name == event]

    async def until(self, event: str, count: int = 1) -> dict[str, str]:
        """Wait until an event was logged so often; returns the last one's fields."""
        async with asyncio.timeout(HANG_S):
            while len(found := self.said(event)) < count or not self.url:
                assert self.process.poll() is None, "it ended"
                await asyncio.sleep(0.02)
        return found[count - 1]


class Arrivals:
    """Clients that come at a rate whatever becomes of those before, and leave once they are greeted."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.greeted = 0
        self.failed: list[Failed] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._began_s = time.monotonic()
        self._task = asyncio.create_task(self._come())

    async def _come(self) -> None:
        come = 0
        while not self._is_over:
            due = int((time.monotonic() - self._began_s) * RATE)
            while come < due and len(self._under_way) < MAX_UNDER_WAY:
                come += 1
                task = asyncio.create_task(self._connect())
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(0.002)

    async def _connect(self) -> None:
        began_s = time.monotonic()
        guest = f"guest_{uuid.uuid4()}_{time.time_ns() // 1_000_000}"
        request = (
            f"GET {self.path}?token={guest}&sessionId=s HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(HANG_S):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    writer.write(request.encode())
                    await reader.readuntil(b'"type":"session_created"')
                finally:
                    writer.transport.abort()  # a port of its own for each would be busy for a minute otherwise
        except asyncio.IncompleteReadError as error:
            self.failed.append(Failed(began_s, time.monotonic(), f"ended after {error.partial[:300]!r}"))
        except (OSError, TimeoutError) as error:
            self.failed.append(Failed(began_s, time.monotonic(), repr(error)))
        else:
            self.greeted += 1

    async def more(self, count: int) -> None:
        """Wait until so many more were greeted."""
        goal = self.greeted + count
        async with asyncio.timeout(HANG_S):
            while self.greeted < goal:
                assert len(self.failed) <= self.greeted + 50, self.failed[-1]
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Let nobody come any more, and wait for those who have."""
        self._is_over = True
        await self._task
        if self._under_way:
            await asyncio.wait(self._under_way)


@pytest.fixture
async def serve(start_wsctl, redis, tmp_path):
    (tmp_path / "crashing.py").write_text(APP)
    options = ("--port", "0", "--workers", "2", "--broker", redis.url)
    serving = Serving(start_wsctl("serve", *options, "crashing:app"))
    await serving.until("worker.serving", 2)
    yield serving
    serving.end()


async def test_a_rolling_restart_loses_nobody_who_comes(serve):
    arrivals = Arrivals(serve.url)
    await arrivals.more(RATE)
    for rolls in (1, 2):
        serve.process.send_signal(signal.SIGHUP)
        await serve.until("workers.rolled", rolls)
        await arrivals.more(RATE // 2)
    await arrivals.end()
    assert not arrivals.failed
    assert len(serve.said("worker.rolled")) == 4


@pytest.mark.parametrize("when", ["as it starts", "as it serves"])
@pytest.mark.slow
async def test_a_crash_loop_refuses_nobody(serve, tmp_path, when):
    arrivals = Arrivals(serve.url)
    crash = tmp_path / "crash"
    kills: list[tuple[float, float]] = []

    async def kill(pid: str) -> None:
        ended = len(serve.said("worker.ended"))
        began_s = time.monotonic()
        os.kill(int(pid), signal.SIGKILL)
        await serve.until("worker.ended", ended + 1)
        kills.append((began_s, time.monotonic()))

    await arrivals.more(RATE)
    if when == "as it starts":
        crash.touch()
        await kill(serve.said("worker.serving")[0]["pid"])
        await serve.until("worker.ended", 1 + CRASHES)
        crash.unlink()
        await serve.until("worker.serving", 3)
        assert serve.said("worker.adopts")
    else:
        await kill(serve.said("worker.serving")[0]["pid"])
        for crashes in range(CRASHES):
            await kill((await serve.until("worker.serving", 3 + crashes))["pid"])
        await serve.until("worker.serving", 3 + CRASHES)
    await arrivals.more(RATE)
    await arrivals.end()
    for failed in arrivals.failed:  # whom a worker had taken is lost with it
        assert "Refused" not in failed.how
        assert any(failed.began_s < ended_s and failed.ended_s > began_s for began_s, ended_s in kills), failed
    assert len(arrivals.failed) < arrivals.greeted / 10

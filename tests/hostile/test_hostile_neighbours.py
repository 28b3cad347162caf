"""One reader that stands still among 500 who read: what they get comes no later than without it."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ENGINES
from tests.hostile.conftest import HANG_S, guest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"),
]

HEALTHY = 500
PAIRS = 15
ROUNDS = 12  # a reader is closed once it has stood still for 5 s
WARM_UP = 3
MOST = 1.2  # times the p99 without it
TEXT = "x" * 1000
APP = """
from wsserver import App, Context

app = App()


@app.on("fill")
def fill(ctx: Context, count: int) -> None:
    for _ in range(count):
        ctx.reply("much", "x" * (64 << 10))


@app.on("say")
def say(ctx: Context, text: str) -> None:
    ctx.publish("said", text, session="room")
"""


class Healthy(asyncio.Protocol):
    """A client that counts the messages of a trial by their last byte, so that it costs next to nothing."""

    def __init__(self, crowd: Crowd, head: bytes) -> None:
        self.crowd = crowd
        self.head = head
        self.is_in = False
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        if self.is_in:
            for _ in range(data.count(b"<end>")):
                self.crowd.arrived()
            return
        self.buffer += data
        if b"session_created" in self.buffer:
            self.is_in = True
            self.crowd.came()

    def connection_lost(self, error) -> None:
        self.crowd.lost += 1


class Crowd:
    """500 in one session, and how late each message reaches each of them."""

    def __init__(self, url: str) -> None:
        self.parts = urlsplit(url)
        self.here = self.lost = self.left = 0
        self.late_s: list[float] = []
        self.transports: list[asyncio.BaseTransport] = []
        self.said_s = 0.0
        self._done = asyncio.Event()

    async def gather(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(HEALTHY):
            head = (
                f"GET {self.parts.path}?token={guest()}&sessionId=room HTTP/1.1\r\nHost: {self.parts.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
            transport, _ = await loop.create_connection(
                lambda head=head: Healthy(self, head), self.parts.hostname, self.parts.port
            )
            self.transports.append(transport)
        async with asyncio.timeout(HANG_S):
            while self.here < HEALTHY:
                await asyncio.sleep(0.01)

    def came(self) -> None:
        self.here += 1

    def arrived(self) -> None:
        self.late_s.append(time.perf_counter() - self.said_s)
        self.left -= 1
        if not self.left:
            self._done.set()

    async def p99(self, speaker) -> float:
        """Say something many times; returns how late 99 of 100 are at most, in seconds."""
        for number in range(WARM_UP + ROUNDS):
            if number == WARM_UP:
                self.late_s.clear()
            self.left = HEALTHY
            self._done.clear()
            self.said_s = time.perf_counter()
            await speaker.send_json({"type": "say", "timestamp": 1, "data": TEXT + "<end>"})
            await asyncio.wait_for(self._done.wait(), HANG_S)
        assert len(self.late_s) == HEALTHY * ROUNDS
        return statistics.quantiles(self.late_s, n=100)[-1]


@pytest.fixture
async def gather():
    crowds = []

    async def gather(url: str) -> Crowd:
        crowds.append(Crowd(url))
        await crowds[-1].gather()
        return crowds[-1]

    yield gather
    for crowd in crowds:
        for transport in crowd.transports:
            transport.abort()


@pytest.mark.parametrize("engine", ENGINES)
async def test_one_who_stands_still_makes_nobody_late(start_measured, open_socket, gather, engine):
    server = start_measured(engine, "--max-outbound-per-connection", "32MiB", "app:app", files={"app.py": APP})
    crowd = await gather(server.url)
    speaker = await open_socket(server.url)
    ratios = []
    for pair in range(PAIRS):
        late_s = {}
        for is_stalled in (False, True) if pair % 2 else (True, False):  # what drifts, drifts for both
            if is_stalled:
                closed = server.closed(4003)
                stalled = await open_socket(server.url, session="room", receive_buffer=4096)
                stalled.stop_reading()
                await stalled.send_json({"type": "fill", "timestamp": 1, "data": 120})
            late_s[is_stalled] = await crowd.p99(speaker)
            if is_stalled:
                stood_still = server.closed(4003) == closed
                stalled.writer.transport.abort()
        if stood_still:  # to the end, as it does not where another program takes the processor for seconds
            ratios.append(late_s[True] / late_s[False])
    assert len(ratios) > PAIRS // 2
    assert statistics.median(ratios) <= MOST, ratios
    assert not crowd.lost

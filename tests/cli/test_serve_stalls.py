"""A server that stands still, by an app's code or as a whole: nobody who answers is closed, and the log says why."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

HANG_S = 60
CLIENTS = 30
HEARTBEAT = ("--heartbeat-interval", "300ms", "--heartbeat-timeout", "1500ms")
PINGS_IN_A_TIMEOUT = 5
STALL_S = 2.0

APP = f"""
import time
from wsserver import App, Context

app = App()

@app.on("sleeps")
async def sleeps(ctx: Context) -> None:
    helper()

def helper() -> None:
    time.sleep({STALL_S})
"""
LOCKING = f"""
import re, time
from wsserver import App, Context

app = App()

@app.on("locks")
def locks(ctx: Context) -> None:
    re.match("(a+)+$", "a" * SIZE + "b")

SIZE, took_s = 18, 0.0
while took_s < {STALL_S / 2}:  # whatever the processor: each step takes twice as long
    SIZE += 1
    began_s = time.process_time()
    re.match("(a+)+$", "a" * SIZE + "b")
    took_s = time.process_time() - began_s
"""

Start = Callable[[str], Awaitable["Crowd"]]


class Crowd:
    """Clients that do nothing but answer pings."""

    def __init__(self) -> None:
        self.clients: list[ClientConnection] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._pings: asyncio.Queue[None] = asyncio.Queue()

    def take(self, ws: ClientConnection) -> None:
        self.clients.append(ws)
        self.tasks.append(asyncio.create_task(self._answer(ws)))

    async def _answer(self, ws: ClientConnection) -> None:
        async for frame in ws:
            if json.loads(frame)["type"] == "ping":
                await ws.send('{"type":"pong","timestamp":1}')
                self._pings.put_nowait(None)

    async def send(self, type: str) -> None:
        await self.clients[0].send(json.dumps({"type": type, "timestamp": 1}))

    async def outlasts_a_timeout(self) -> bool:
        """Go on for as long as a silent one may stay, and tell whether all are still there."""
        while not self._pings.empty():
            self._pings.get_nowait()
        for _ in range(CLIENTS * (PINGS_IN_A_TIMEOUT + 1)):
            await asyncio.wait_for(self._pings.get(), HANG_S)
        return all(ws.close_code is None for ws in self.clients)


@pytest.fixture
async def crowd(guest_token) -> AsyncIterator[Start]:
    crowd = Crowd()

    async def start(url: str) -> Crowd:
        for _ in range(CLIENTS):
            crowd.take(await connect(f"{url}?token={guest_token()}", proxy=None, compression=None))
        return crowd

    yield start
    for ws in crowd.clients:
        await ws.close()
    await asyncio.wait_for(asyncio.gather(*crowd.tasks, return_exceptions=True), HANG_S)


async def the_stall(server) -> dict[str, Any]:
    try:
        return await asyncio.wait_for(asyncio.to_thread(server.wait_for, "server.stalled"), HANG_S)
    except TimeoutError:
        server.process.kill()  # or the thread would read on for ever
        raise


async def test_a_handler_that_sleeps_costs_nobody_the_connection_and_is_named(serving, engine, crowd, tmp_path):
    (tmp_path / "stalling.py").write_text(APP)
    server = serving("stalling:app", "--engine", engine.value, *HEARTBEAT)
    clients = await crowd(server.url)
    await clients.send("sleeps")
    stall = await the_stall(server)
    assert stall["seconds"] > STALL_S / 2
    assert stall["problem"] == "code ran on the event loop that did not give it back"
    place = tmp_path / "stalling.py"
    assert stall["running"] == f"helper ({place}:12) < sleeps ({place}:9)"
    assert await clients.outlasts_a_timeout()


@pytest.mark.slow  # to find what takes so long on this machine takes as long
async def test_code_that_holds_the_interpreter_is_told_from_a_process_that_does_not_run(serving, crowd, tmp_path):
    (tmp_path / "stalling.py").write_text(LOCKING)
    server = serving("stalling:app", *HEARTBEAT)
    clients = await crowd(server.url)
    await clients.send("locks")
    assert "holds the interpreter's lock" in (await the_stall(server))["problem"]
    assert await clients.outlasts_a_timeout()


async def test_a_server_that_was_stopped_and_continued_closes_nobody_who_answers(serving, engine, crowd, guest_token):
    server = serving("--engine", engine.value, *HEARTBEAT)
    clients = await crowd(server.url)
    silent = await connect(f"{server.url}?token={guest_token()}", proxy=None)
    server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(STALL_S)
    server.process.send_signal(signal.SIGCONT)
    assert (await the_stall(server))["problem"].startswith("the process did not run")
    await asyncio.wait_for(silent.wait_closed(), HANG_S)
    assert silent.close_code == 4002
    assert await clients.outlasts_a_timeout()

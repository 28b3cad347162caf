"""Silence on a clock that the test moves: the loop's own, since it is the one that the client's timers read."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from tests.tcpserver import tcp_server
from wsclient import ClientState, Closed, Received

HANG_S = 20


class Clock:
    """The running loop's time, with what the test adds to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self._added_s = 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self._added_s)

    def advance(self, seconds: float) -> None:
        self._added_s += seconds


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def io_turns() -> None:
    """Let the loop see what has arrived."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_silence_beyond_the_announced_timeout_is_the_end(faults, make_client, record, clock):
    async def greet_and_stay(peer):
        await peer.greet(timeout_ms=60_000)
        await peer.stay()

    server = await faults(greet_and_stay)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    await client.connect()
    await io_turns()
    clock.advance(50)
    await io_turns()
    assert client.state is ClientState.OPEN
    for _ in range(9):  # a jump that came late looks like a loop that stood still, and is forgiven
        clock.advance(60)
        await io_turns()
    assert events.of(Closed) == [Closed(1006, "no sign of life from the server for 60 s")]


async def test_a_loop_that_stood_still_reads_before_it_gives_the_server_up(faults, make_client, record, clock):
    peers = asyncio.Queue()

    async def greet_and_stay(peer):
        await peer.greet(timeout_ms=60_000)
        peers.put_nowait(peer)
        await peer.stay()

    server = await faults(greet_and_stay)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    await client.connect()
    peer = await peers.get()
    await io_turns()
    for number in range(3):
        await peer.send("message", number)
        clock.advance(200)  # nothing ran meanwhile; the frame waits in the socket
        await io_turns()
    assert events.of(Closed) == []
    assert [event.envelope.type for event in events.of(Received)][1:] == ["message"] * 3


@contextlib.asynccontextmanager
async def unresponsive_server(timeout_ms: int):
    """A server that greets, pings and reads when told to only: bytes on TCP, since no library does that."""
    from websockets.server import ServerProtocol

    ping = asyncio.Event()
    reads = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))
        greeting = {
            "sessionId": "room",
            "userId": "alice",
            "isGuest": True,
            "connectionId": "c-1",
            "heartbeat": {"intervalMs": 10, "timeoutMs": timeout_ms},
            "limits": {"maxMessageBytes": 1},
        }
        protocol.send_text(json.dumps({"type": "session_created", "timestamp": 1, "data": greeting}).encode())
        writer.writelines(protocol.data_to_send())
        await ping.wait()
        protocol.send_text(b'{"type":"ping","timestamp":1}')
        writer.writelines(protocol.data_to_send())
        await reads.wait()
        while await reader.read(1 << 16):
            pass
        await asyncio.Event().wait()  # the client has hung up, and is not answered

    async with tcp_server(handle, limit=1024) as port:
        yield f"ws://127.0.0.1:{port}/", ping, reads


async def test_a_server_that_reads_nothing_cannot_hold_the_client_in_its_pong(make_client, record):
    async with unresponsive_server(timeout_ms=2000) as (url, ping, _):
        client = make_client(url, reconnect=None)
        events = record(client)
        await client.connect()
        flood = asyncio.create_task(client.send("message", "x" * 30_000_000))
        await asyncio.sleep(0)
        ping.set()
        closed = await events.next(Closed)
        assert closed.code == 1006
        assert [event.envelope.type for event in events.of(Received)] == ["session_created", "ping"]
        async with asyncio.timeout(HANG_S):
            await asyncio.wait((flood,))


async def test_a_loop_that_stood_still_in_its_pong_does_not_give_the_server_up(make_client, record, clock):
    async with unresponsive_server(timeout_ms=60_000) as (url, ping, reads):
        client = make_client(url, reconnect=None)
        events = record(client)
        await client.connect()
        flood = asyncio.create_task(client.send("message", "x" * 30_000_000))
        await asyncio.sleep(0)
        ping.set()
        while len(events.of(Received)) < 2:
            await asyncio.sleep(0)
        await io_turns()
        clock.advance(200)  # nothing ran meanwhile, also not what would have written on
        await io_turns()
        assert events.of(Closed) == []
        reads.set()
        async with asyncio.timeout(HANG_S):
            await flood
        assert client.state is ClientState.OPEN

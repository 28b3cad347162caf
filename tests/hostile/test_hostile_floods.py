"""Peers that send without reading: memory stays flat, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from wscore.ratelimit import Rate
from wsserver.delivery import OutboundLimits
from wsserver.ratelimits import RatePolicy

TEXT, PING = 0x1, 0x9
GROWTH_BYTES = 8 << 20


@pytest.fixture
def growth() -> Iterator[list[int]]:
    """What the process holds more than at the start, in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    class Growth(list):
        def __call__(self) -> int:
            return tracemalloc.get_traced_memory()[0] - before

    yield Growth()
    tracemalloc.stop()


async def pour(peer, data: bytes, times: int) -> None:
    """Send without ever reading, until it is all out or the server no longer takes it."""
    raw = peer.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.writer.transport.pause_reading()
    with suppress(ConnectionError, TimeoutError):
        for _ in range(times):
            peer.writer.write(data)
            async with asyncio.timeout(0.5):
                await peer.writer.drain()


async def test_a_ping_flood_of_a_peer_that_never_reads(
    start_server, open_socket, neighbour_of, make_frame, engine, growth
):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    attacker = await open_socket(server.url)
    pings = b"".join(make_frame(PING, b"x" * 125) for _ in range(500))
    await pour(attacker, pings, 200)  # 100,000 pings of 125 bytes
    await neighbour.notices_nothing()
    attacker.writer.transport.abort()
    assert growth() < GROWTH_BYTES


async def test_an_envelope_ping_flood_of_a_peer_that_never_reads(
    start_server, open_socket, neighbour_of, make_frame, engine, growth
):
    server = await start_server(engine=engine, outbound=OutboundLimits(max_bytes=1 << 20))
    neighbour = await neighbour_of(server.url)
    attacker = await open_socket(server.url)
    pings = make_frame(TEXT, b'{"type":"ping","timestamp":1}') * 500
    await pour(attacker, pings, 200)
    await neighbour.notices_nothing()
    attacker.writer.transport.abort()
    assert growth() < GROWTH_BYTES
    async with asyncio.timeout(20):
        while len(server.connections) > 1:
            await asyncio.sleep(0.01)


async def test_a_reader_that_stands_still_is_closed_and_the_room_goes_on(
    start_server, open_socket, make_frame, engine, growth
):
    server = await start_server(engine=engine, outbound=OutboundLimits(max_bytes=256 << 10))
    speaker = await open_socket(server.url, session="room")
    stalled = await open_socket(server.url, session="room")
    stalled.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.writer.transport.pause_reading()
    data = "x" * 20_000
    for number in range(600):  # 12 MB: more than all buffers on the way hold
        await speaker.send_json({"type": "message", "timestamp": 1, "data": f"{number} {data}"})
        assert (await speaker.receive_type("message"))["data"] == f"{number} {data}"
        if server.counters.slow_consumers:
            break
    assert server.counters.slow_consumers == 1
    assert growth() < GROWTH_BYTES
    await speaker.send_json({"type": "ping", "timestamp": 1})
    await speaker.receive_type("pong")


async def test_a_flood_beyond_the_rate_limit_is_dropped_and_then_closed(
    start_server, open_socket, neighbour_of, make_frame, engine
):
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(10, 20), max_refused=50))
    neighbour = await neighbour_of(server.url)
    attacker = await open_socket(server.url)
    with suppress(ConnectionError):
        await attacker.send(make_frame(TEXT, b'{"type":"message","timestamp":1}') * 1000)
    assert await attacker.close_code() == 1008
    await neighbour.notices_nothing()


async def test_connections_that_come_and_go_leave_nothing_behind(start_server, open_socket, engine, growth):
    server = await start_server(engine=engine)
    for _ in range(50):
        (await open_socket(server.url)).writer.transport.abort()
    settled = growth()
    for _ in range(300):
        (await open_socket(server.url)).writer.transport.abort()
    async with asyncio.timeout(20):
        while len(server.connections):
            await asyncio.sleep(0.01)
    assert growth() - settled < 2 << 20

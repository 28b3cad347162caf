"""Peers that send without reading: the server's memory stays flat, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import signal
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ENGINES
from wscore.ratelimit import Rate
from wsserver.connections.ratelimits import RatePolicy

HANG_S = 20
CONT, TEXT, PING, PONG = 0x0, 0x1, 0x9, 0xA
MIB = 1 << 20
GROWTH_BYTES = 8 * MIB
SMALL_BUFFER = 4096

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture(scope="module", params=ENGINES)
def measured(request, start_measured):
    return start_measured(request.param)


async def flood(attacker, data: bytes, times: int, neighbour) -> None:
    """Send it all, or until the server hangs up; at every step the neighbour is served."""
    for _ in range(times):
        with suppress(ConnectionError):
            await attacker.send(data)
        await neighbour.notices_nothing()


@needs_proc
async def test_a_ping_flood_of_a_peer_that_never_reads(measured, open_socket, neighbour_of, make_frame):
    neighbour = await neighbour_of(measured.url)
    listener = await open_socket(measured.url, session="pings")
    attacker = await open_socket(measured.url, session="pings", receive_buffer=SMALL_BUFFER)
    attacker.stop_reading()
    pings = make_frame(PING, b"x" * 125) * 1000
    with measured.grows_less_than(GROWTH_BYTES):
        await flood(attacker, pings, 100, neighbour)
        # The server has read every ping once this comes through.
        await attacker.send_json({"type": "message", "timestamp": 1, "data": "done"})
        assert (await listener.receive_type("message"))["data"] == "done"


@needs_proc
async def test_an_envelope_ping_flood_of_a_peer_that_never_reads(measured, open_socket, neighbour_of, make_frame):
    neighbour = await neighbour_of(measured.url)
    attacker = await open_socket(measured.url, receive_buffer=SMALL_BUFFER)
    attacker.stop_reading()
    pings = make_frame(TEXT, b'{"type":"ping","timestamp":1,"id":"%s"}' % (b"i" * 64)) * 1000
    with measured.grows_less_than(GROWTH_BYTES):
        await flood(attacker, pings, 60, neighbour)
        assert await attacker.close_code() in {4003, None}  # None: too late, the server did not wait for us
        await measured.closed_with(4003)


@needs_proc
async def test_a_reader_that_stands_still_is_closed_and_the_room_goes_on(measured, open_socket, neighbour_of):
    neighbour = await neighbour_of(measured.url)
    speaker = await open_socket(measured.url, session="talk")
    stalled = await open_socket(measured.url, session="talk", receive_buffer=SMALL_BUFFER)
    stalled.stop_reading()
    data = "x" * 50_000
    with measured.grows_less_than(GROWTH_BYTES):
        for number in range(400):  # 20 MB: more than all buffers on the way hold
            await speaker.send_json({"type": "message", "timestamp": 1, "data": f"{number} {data}"})
            assert (await speaker.receive_type("message"))["data"] == f"{number} {data}"
        await neighbour.notices_nothing()
    assert await stalled.close_code() in {4003, None}
    await measured.closed_with(4003)


@needs_proc
async def test_a_burst_of_small_frames_leaves_no_large_buffers_behind(measured, open_socket, neighbour_of, make_frame):
    neighbour = await neighbour_of(measured.url)
    attackers = [await open_socket(measured.url) for _ in range(8)]
    pongs = make_frame(PONG, b"x" * 125) * 20_000
    with measured.grows_less_than(4 * MIB):
        measured.process.send_signal(signal.SIGSTOP)  # as a busy server: the kernel takes what it does not read yet
        for attacker in attackers:
            attacker.writer.write(pongs)
            with suppress(TimeoutError):
                await asyncio.wait_for(attacker.writer.drain(), 0.1)
        measured.process.send_signal(signal.SIGCONT)
        for attacker in attackers:
            await attacker.send_json({"type": "ping", "timestamp": 1})
            await attacker.receive_type("pong")
        await neighbour.notices_nothing()


@needs_proc
@pytest.mark.parametrize("payload", [b"", b"xy"], ids=["empty", "small"])
async def test_fragments_without_end(measured, open_socket, neighbour_of, make_frame, payload):
    neighbour = await neighbour_of(measured.url)
    attacker = await open_socket(measured.url)
    fragments = make_frame(CONT, payload, fin=False) * 1000
    with measured.grows_less_than(GROWTH_BYTES):
        await attacker.send(make_frame(TEXT, payload, fin=False))
        await flood(attacker, fragments, 300, neighbour)
        assert await attacker.close_code() == 1009


@needs_proc
async def test_a_length_announced_costs_nothing_until_it_comes(measured, open_socket, neighbour_of, make_frame):
    neighbour = await neighbour_of(measured.url)
    with measured.grows_less_than(GROWTH_BYTES):
        for size in (1 << 63, (1 << 63) - 1, 1 << 62, 1 << 40, MIB + 1):
            attacker = await open_socket(measured.url)
            await attacker.send(make_frame(TEXT, size=size))
            assert await attacker.close_code() in {1002, 1009}
        for _ in range(64):
            await (await open_socket(measured.url)).send(make_frame(TEXT, b"x", size=MIB))
        await neighbour.notices_nothing()


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


async def test_connections_that_come_and_go_leave_nothing_behind(start_server, open_socket, engine):
    server = await start_server(engine=engine)

    async def come_and_go(times: int) -> int:
        for _ in range(times):
            (await open_socket(server.url)).writer.transport.abort()
        async with asyncio.timeout(HANG_S):
            while len(server.connections):
                await asyncio.sleep(0.01)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        settled = await come_and_go(50)
        assert await come_and_go(200) - settled < MIB
    finally:
        tracemalloc.stop()

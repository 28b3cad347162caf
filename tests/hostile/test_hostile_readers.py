"""Peers that let the server send without reading: real processes, whose memory is bounded and comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.conftest import ENGINES

HANG_S = 20
MIB = 1 << 20
SMALL_BUFFER = 4096
OVERHEAD = 32 * MIB  # what a server may take beyond the limits that it was given
BACK_TO = 16 * MIB  # of what it was, once nothing waits any more
APP = """
import msgspec
from wsserver import App, Context

app = App()


class Much(msgspec.Struct):
    count: int
    size: int


@app.on("burst")
def burst(ctx: Context, much: Much) -> None:
    for number in range(much.count):
        ctx.publish("burst", str(number).ljust(much.size, "x"))


@app.on("feed")
def feed(ctx: Context, much: Much) -> None:
    for number in range(much.count):
        ctx.reply("feed", str(number).ljust(much.size, "x"))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture(params=ENGINES)
def serve(request, start_measured):
    return lambda *options: start_measured(request.param, *options, "app:app", files={"app.py": APP})


@pytest.fixture
def open_stalled(open_socket):
    async def open_one(url: str, session: str | None = None):
        peer = await open_socket(url, session=session, receive_buffer=SMALL_BUFFER)
        peer.stop_reading()
        return peer

    return open_one


async def ask(peer, type: str, count: int, size: int) -> None:
    await peer.send_json({"type": type, "timestamp": 1, "data": {"count": count, "size": size}})


def abort(peers) -> None:
    for peer in peers:
        peer.writer.transport.abort()


async def test_sixty_mebibytes_in_one_go_to_twenty_who_do_not_read(serve, open_socket, open_stalled, neighbour_of):
    server = serve("--max-outbound-memory", "64MiB")
    neighbour = await neighbour_of(server.url)
    speaker = await open_socket(server.url, session="room")
    stalled = [await open_stalled(server.url, "room") for _ in range(20)]
    before = server.resident()
    with server.grows_less_than(64 * MIB + OVERHEAD):
        await ask(speaker, "burst", 60, MIB)
        for number in range(60):
            received = await speaker.receive_type("burst")
            assert received["data"] == str(number).ljust(MIB, "x"), "who reads misses something"
        await neighbour.notices_nothing()
        await server.shrinks_to(before + BACK_TO)
    abort(stalled)
    await server.closed_with(4003, 20)
    await server.shrinks_to(before + BACK_TO)


@pytest.mark.parametrize("members", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_what_many_wait_for_is_in_memory_once(serve, open_socket, open_stalled, neighbour_of, members):
    server = serve()
    neighbour = await neighbour_of(server.url)
    speaker = await open_socket(server.url, session="room")
    stalled = [await open_stalled(server.url, "room") for _ in range(members)]
    before = server.resident()
    with server.grows_less_than(OVERHEAD):
        for _ in range(100):  # more than the kernel takes for each, and than may wait
            await ask(speaker, "burst", 1, 64 << 10)
            await speaker.receive_type("burst")
        await neighbour.notices_nothing()
    abort(stalled)
    await server.closed_with(4003, members)
    await server.shrinks_to(before + BACK_TO)


async def test_what_each_waits_for_alone_is_bounded_over_all_and_the_worst_go_first(serve, open_stalled, neighbour_of):
    server = serve("--max-outbound-memory", "8MiB", "--max-outbound-per-connection", "4MiB")
    neighbour = await neighbour_of(server.url)
    before = server.resident()
    peers = [await open_stalled(server.url) for _ in range(60)]
    with server.grows_less_than(8 * MIB + OVERHEAD):
        for peer in peers:
            await ask(peer, "feed", 80, 64 << 10)  # more than the kernel takes, and less than one may have
            await neighbour.notices_nothing()
        await server.logged("outbound.full")
    abort(peers)
    await server.closed_with(4003, 40)
    await server.shrinks_to(before + BACK_TO)


async def test_who_breaks_the_protocol_while_something_waits_gets_whole_frames_and_the_reason(
    start_server, open_stalled, engine
):
    server = await start_server(engine=engine)
    peer = await open_stalled(server.url, "room")
    while server.backlog.used < 300_000:
        server.hub.publish("news", "x" * 50_000, session="room")
        await asyncio.sleep(0)
    peer.writer.write(b"\x81\x05hello")  # not masked
    codes: list[int] = []
    peer.writer.transport.resume_reading()
    try:
        while True:
            opcode, payload = await peer.receive()
            if opcode == 0x8:
                codes.append(int.from_bytes(payload[:2], "big"))
            else:
                assert json.loads(payload)["data"] == "x" * 50_000
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    assert codes == [1002]


async def test_a_ping_between_pieces_of_a_frame_gets_no_pong_into_the_middle(
    start_server, open_stalled, make_frame, engine
):
    server = await start_server(engine=engine)
    peer = await open_stalled(server.url, "room")
    sent = 0
    while server.backlog.used < 300_000:
        server.hub.publish("news", str(sent).ljust(50_000, "x"), session="room")
        sent += 1
        await asyncio.sleep(0)
    for _ in range(20):
        await peer.send(make_frame(0x9, b"are you there?"))
        await asyncio.sleep(0.001)
    peer.writer.transport.resume_reading()
    for number in range(sent):
        envelope = await peer.receive_type("news")
        assert envelope["data"] == str(number).ljust(50_000, "x")

"""Messages that never become whole, on many connections: they are bounded in bytes, and what was freed goes back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from wsserver.settings import EngineName

MIB = 1 << 20
LIMIT = 16 * MIB
OVERHEAD = 32 * MIB  # what a server may take beyond the limits that it was given
BACK_TO = 16 * MIB  # of what it was, once nothing waits any more
CONT, TEXT = 0x0, 0x1
HANG_S = 20
APP = """
import asyncio
from wsserver import App, Context

app = App()


@app.on("plain")
def plain(ctx: Context, data: list) -> None:
    ctx.reply("done", len(data))


@app.on("hang")
async def hang(ctx: Context, data: list) -> None:
    await asyncio.sleep(1000)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture(params=[EngineName.PICOWS, EngineName.WEBSOCKETS])
def serve(request, start_measured):
    return lambda *options: start_measured(request.param, *options, "app:app", files={"app.py": APP})


def envelope(kind: str, size: int, item: bytes = b"0") -> bytes:
    """An envelope of about `size` bytes, whose data is a list."""
    head = b'{"type":"%b","timestamp":1,"id":"big","data":[' % kind.encode()
    return head + b",".join([item] * ((size - len(head) - 2) // (len(item) + 1))) + b"]}"


async def send(peer, *frames: bytes) -> None:
    """Send to a server that may hang up meanwhile."""
    with suppress(ConnectionError):
        await peer.send(*frames)


def hang_up(peers) -> None:
    for peer in peers:
        peer.writer.transport.abort()


@pytest.mark.parametrize("kind", ["half a frame", "fragments"])
async def test_messages_that_never_end_are_bounded_in_all_and_make_room(
    serve, open_socket, neighbour_of, make_frame, kind
):
    server = serve("--max-inbound-memory", "16MiB")
    neighbour = await neighbour_of(server.url)
    payload = b"x" * (MIB - 1024)
    if kind == "fragments":
        unfinished = [make_frame(TEXT if start == 0 else CONT, payload[start : start + 32_000], fin=False)
                      for start in range(0, len(payload), 32_000)]  # fmt: skip
    else:
        unfinished = [make_frame(TEXT, payload, size=MIB)[:-1000]]
    whole = make_frame(TEXT, envelope("plain", MIB - 1024))
    before = server.resident()
    with server.grows_less_than(LIMIT + OVERHEAD):
        peers = []
        for number in range(120):
            peers.append(await open_socket(server.url))
            await send(peers[-1], *unfinished)
            if number % 20 == 19:
                await neighbour.notices_nothing()
        speaker = await open_socket(server.url)
        await speaker.send(whole)
        assert (await speaker.receive_type("done"))["id"] == "big"
    hang_up(peers)
    await server.shrinks_to(before + BACK_TO)


async def test_who_goes_may_be_the_one_that_is_read(serve, open_socket, neighbour_of, make_frame):
    server = serve("--max-inbound-memory", "16MiB")
    neighbour = await neighbour_of(server.url)
    unfinished = make_frame(TEXT, b"x" * (MIB - 1024), size=MIB)[:-1000]
    peers = [await open_socket(server.url) for _ in range(60)]
    with server.grows_less_than(LIMIT + OVERHEAD):
        for start in range(0, len(unfinished), 100_000):
            for peer in peers:
                await send(peer, unfinished[start : start + 100_000])
            await neighbour.notices_nothing()
    hang_up(peers)


async def test_who_sent_a_large_message_once_does_not_keep_its_memory(serve, open_socket, make_frame):
    server = serve()
    before = server.resident()
    peers = [await open_socket(server.url) for _ in range(80)]
    whole = make_frame(TEXT, envelope("plain", MIB - 1024))
    for peer in peers:
        await peer.send(whole)
        await peer.receive_type("done")
    await server.shrinks_to(before + BACK_TO)
    for peer in peers[:4]:  # and may send another
        await peer.send(whole)
        await peer.receive_type("done")
    hang_up(peers)


async def test_what_waited_for_handlers_goes_back_with_its_clients(serve, open_socket, make_frame):
    # A peer that is not read is gone when a ping cannot be delivered: its goodbye stands behind what it sent.
    server = serve("--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
    before = server.resident()
    peers = [await open_socket(server.url) for _ in range(10)]
    whole = make_frame(TEXT, envelope("hang", MIB - 1024, b"{}"))
    sending = [asyncio.create_task(send(peer, *[whole] * 20)) for peer in peers]
    async with asyncio.timeout(HANG_S):
        while server.resident() < before + 32 * MIB:
            await asyncio.sleep(0.02)
    hang_up(peers)
    await asyncio.gather(*sending)
    await server.shrinks_to(before + BACK_TO)


@pytest.mark.slow  # it waits for several seconds in which nobody needs the memory
async def test_what_is_less_than_much_goes_back_too(serve, open_socket, make_frame):
    server = serve()
    before = server.resident()
    payload = b"x" * (MIB - 1024)
    pieces = [make_frame(TEXT if start == 0 else CONT, payload[start : start + 32_000], fin=False)
              for start in range(0, len(payload), 32_000)]  # fmt: skip
    peers = [await open_socket(server.url) for _ in range(14)]
    staying = []
    for piece in pieces:
        for peer in peers:
            await peer.send(piece)
        staying.append(await open_socket(server.url))  # what it takes lies between what the others do
    async with asyncio.timeout(HANG_S):
        while await server.held() < 13 * MIB:
            await asyncio.sleep(0.05)
    hang_up(peers)
    await server.shrinks_to(before + 6 * MIB)

"""permessage-deflate: what a compressed message may become, and what a connection costs that has it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import zlib
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from wscore.guest import mint_guest_token
from wsserver.settings import EngineName

HANG_S = 20
MIB = 1 << 20
KIB = 1 << 10
TEXT = 0x1

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture(scope="module")
def server(start_measured):
    return start_measured(EngineName.WEBSOCKETS, "--compression")


@pytest.fixture
async def open_compressed():
    opened: list[ClientConnection] = []

    async def open_one(url: str) -> ClientConnection:
        token = mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)
        ws = await connect(f"{url}?token={token}", proxy=None, compression="deflate", max_size=None)
        opened.append(ws)
        assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["type"] == "session_created"
        return ws

    yield open_one
    for ws in opened:
        ws.transport.abort()


def bomb(compressor, make_frame, size: int) -> bytes:
    """Return one message of about that many bytes, a thousandth of them on the wire."""
    envelope = b'{"type":"audio_clear","timestamp":1,"data":"%b"}' % (b"x" * size)
    data = compressor.compress(envelope) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return make_frame(TEXT, data[:-4], rsv=4)


async def test_many_bombs_in_one_packet_are_inflated_a_few_at_a_time(server, open_compressed, neighbour_of, make_frame):
    neighbour = await neighbour_of(server.url)
    ws = await open_compressed(server.url)
    compressor = zlib.compressobj(wbits=-12)
    packet = b"".join(bomb(compressor, make_frame, MIB - 1000) for _ in range(150))
    assert len(packet) < 256 * KIB, "it does not come in one read"
    with server.grows_less_than(16 * MIB):
        ws.transport.write(packet)
        await neighbour.notices_nothing()
        await ws.send(
            json.dumps({"type": "ping", "timestamp": 1})
        )  # the first of the client's own: it refers to nothing
        assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["type"] == "pong"


async def test_a_message_that_inflates_beyond_the_limit_is_refused(server, open_compressed, neighbour_of, make_frame):
    neighbour = await neighbour_of(server.url)
    ws = await open_compressed(server.url)
    with server.grows_less_than(8 * MIB):
        ws.transport.write(bomb(zlib.compressobj(wbits=-12), make_frame, 200 * MIB))
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(ws.recv(), HANG_S)
        await neighbour.notices_nothing()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_an_idle_connection_with_compression_costs_little_more_than_its_windows(server, open_compressed):
    for _ in range(20):
        await open_compressed(server.url)
    before = server.resident()
    count = 200
    for _ in range(count):
        await open_compressed(server.url)
    assert (server.resident() - before) / count < 64 * KIB

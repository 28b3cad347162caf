"""What read the request is gone once the connection is a WebSocket, with the token in it, on every event loop."""

from __future__ import annotations

import asyncio
import gc

import pytest
from websockets.asyncio.client import connect

from wsserver import ServerSettings, WebSocketServer
from wsserver.engines.arrival import Arrival

HANG_S = 20


async def arrivals_left(engine, url_token: str) -> int:
    server = WebSocketServer(ServerSettings(port=0, engine=engine, close_timeout_ms=1000))
    await server.start()
    async with connect(f"{server.url}?token={url_token}", proxy=None) as ws:
        await asyncio.wait_for(ws.recv(), HANG_S)
        gc.collect()
        left = sum(isinstance(item, Arrival) for item in gc.get_objects())
    await server.stop()
    return left


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_memory_of_the_request_is_free_once_the_connection_is_upgraded(engine, loop, guest_token):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(arrivals_left(engine, guest_token())) == 0

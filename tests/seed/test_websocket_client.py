"""Wire compatibility through Python's `websocket-client`: a second client that this project did not write."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import pytest
import websocket

from tests.wsserver.webhooks.deciders import decider

HANG_S = 20


def guest_token_as_in_the_seed() -> str:
    return f"guest_{uuid.uuid4()}_{int(time.time() * 1000)}"


@pytest.mark.parametrize("is_asked", [False, True], ids=["", "backend"])
async def test_a_guest_is_greeted_pings_and_talks(start_server, engine, is_asked):
    async with decider() as backend:
        server = await start_server(engine=engine, connecting=backend.settings if is_asked else None)
        await greeted_pings_and_talks(server)
        assert len(backend.asked) == is_asked


async def greeted_pings_and_talks(server):

    def talk() -> list[dict]:
        ws = websocket.create_connection(f"{server.url}?token={guest_token_as_in_the_seed()}", timeout=HANG_S)
        received = [json.loads(ws.recv())]
        for kind in ("ping", "message"):
            ws.send(json.dumps({"type": kind, "timestamp": int(time.time() * 1000), "data": {"text": "grüezi"}}))
            received.append(json.loads(ws.recv()))
        ws.close()
        return received

    greeting, pong, message = await asyncio.to_thread(talk)
    assert greeting["type"] == "session_created"
    assert (pong["type"], pong["sessionId"]) == ("pong", greeting["sessionId"])
    assert (message["type"], message["data"]) == ("message", {"text": "grüezi"})
    assert message["userId"] == greeting["data"]["userId"]


async def test_a_bad_token_gets_the_error_envelope_and_4001(start_server, engine):
    server = await start_server(engine=engine)

    def knock() -> tuple[dict, int]:
        ws = websocket.create_connection(f"{server.url}?token=nonsense", timeout=HANG_S)
        error = json.loads(ws.recv())
        opcode, frame = ws.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        ws.shutdown()  # close() would do nothing any more, and leave the socket open
        return error, int.from_bytes(frame[:2], "big")

    error, code = await asyncio.to_thread(knock)
    assert (error["type"], error["data"]["code"], code) == ("error", "AUTH_INVALID", 4001)

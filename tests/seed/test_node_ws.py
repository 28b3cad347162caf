"""Wire compatibility with the seed, row by row, through Node's `ws`: a client that this project did not write."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wscore.guest import mint_guest_token
from wscore.heartbeat import HeartbeatPolicy
from wsserver import App, Context

HERE = Path(__file__).parent
HANG_S = 30

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "ws").is_dir(), reason="Node's ws is missing: npm ci --prefix tests/seed"
    ),
]


class NodeClient:
    """A running seed_client.mjs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    async def event(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self._stdout.readline(), HANG_S)
        assert line, "the Node client ended"
        return json.loads(line)

    async def envelope(self, type: str) -> dict[str, Any]:
        while True:
            event = await self.event()
            if event["event"] == "message" and event["envelope"]["type"] == type:
                return event["envelope"]

    async def close(self) -> tuple[int, str]:
        while True:
            event = await self.event()
            if event["event"] == "close":
                return event["code"], event["reason"]

    def send(self, type: str, data: object, **fields: object) -> None:
        self.send_line(json.dumps({"type": type, "timestamp": 1700000000000, "data": data, **fields}))

    def send_line(self, line: str) -> None:
        self._stdin.write(line.encode() + b"\n")


@pytest.fixture
async def node() -> AsyncIterator[Callable[..., Awaitable[NodeClient]]]:
    clients: list[NodeClient] = []

    async def start(url: str, *arguments: str) -> NodeClient:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "seed_client.mjs"),
            url,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        client = NodeClient(process)
        clients.append(client)
        return client

    yield start
    for client in clients:
        if client.process.returncode is None:
            client.process.kill()
        await client.process.communicate()


async def test_session_created_answers_a_guest_token_made_on_the_client(start_server, node, engine):
    server = await start_server(engine=engine)
    client = await node(server.url)
    data = (await client.envelope("session_created"))["data"]
    assert data["sessionId"]
    assert data["userId"].startswith("guest_")
    assert data["isGuest"] is True


async def test_auth_required_auth_invalid_auth_expired_and_session_create_failed_close_with_4001(
    start_server, node, guest_token
):
    server = await start_server()
    expired = mint_guest_token(uuid.uuid4(), 1700000000000)
    malformed_session = f"{server.url}?sessionId=%20"
    for url, arguments, code in (
        (server.url, ["none"], "AUTH_REQUIRED"),
        (server.url, ["guest_x_1"], "AUTH_INVALID"),
        (server.url, [expired], "AUTH_EXPIRED"),
        (malformed_session + "&token=", None, "SESSION_CREATE_FAILED"),
    ):
        if arguments is None:
            url, arguments = url + guest_token(), ["none"]
        client = await node(url, *arguments)
        error = await client.envelope("error")
        assert error["data"]["code"] == code
        assert error["data"]["message"]
        assert (await client.close())[0] == 4001


async def test_invalid_message_leaves_the_connection_open(start_server, node, engine):
    server = await start_server(engine=engine)
    client = await node(server.url)
    client.send_line("this is no envelope")
    assert (await client.envelope("error"))["data"]["code"] == "INVALID_MESSAGE"
    client.send("ping", {"timestamp": 1})
    assert (await client.envelope("pong"))["data"]["timestamp"] > 0


async def test_ping_and_pong_go_both_ways_and_silence_ends_with_4002(start_server, node, engine):
    server = await start_server(engine=engine, heartbeat=HeartbeatPolicy(200, 700))
    client = await node(server.url)
    client.send("ping", {"timestamp": 1})
    pong = await client.envelope("pong")
    assert pong["sessionId"]
    for _ in range(4):  # answered pings keep it open beyond the timeout
        ping = await client.envelope("ping")
        assert "sessionId" not in ping
        client.send("pong", ping["data"])
    assert await client.close() == (4002, "Connection timeout")


async def test_a_message_is_broadcast_to_its_session_and_to_no_other(start_server, node, engine, guest_token):
    server = await start_server(engine=engine)
    a, b, other = [
        await node(f"{server.url}?sessionId={session}&token={guest_token()}", "none")
        for session in ("room", "room", "elsewhere")
    ]
    for client in (a, b, other):
        await client.envelope("session_created")
    a.send("message", {"text": "hello"})
    for client in (a, b):
        assert (await client.envelope("message"))["data"] == {"text": "hello"}
    other.send("ping", {})
    event = await other.event()
    assert event["envelope"]["type"] == "pong"


async def test_send_to_an_absent_connection_returns_false(start_server, node):
    server = await start_server()
    client = await node(server.url)
    connection_id = (await client.envelope("session_created"))["data"]["connectionId"]
    assert server.hub.send(connection_id, "transcript", {"text": "hi", "isFinal": True}) is True
    assert (await client.envelope("transcript"))["data"] == {"text": "hi", "isFinal": True}
    client.process.kill()
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    assert server.hub.send(connection_id, "transcript", {"text": "hi", "isFinal": True}) is False


async def test_audio_chunk_transcript_llm_response_and_asr_error_travel_as_in_the_seed(start_server, node, engine):
    app = App()

    @app.on("audio_chunk")
    async def audio(ctx: Context, data: dict) -> None:  # type: ignore[type-arg]
        ctx.reply("transcript", {"text": "hello", "isFinal": True})
        ctx.reply("llm_response", {"text": "hi"})
        ctx.reply("audio_chunk", {"audioData": data["audioData"], "sequenceNumber": data["sequenceNumber"] + 1})

    server = await start_server(app, engine=engine)
    client = await node(server.url)
    client.send("audio_chunk", {"audioData": "AAA=", "sequenceNumber": 1})
    assert (await client.envelope("transcript"))["data"] == {"text": "hello", "isFinal": True}
    assert (await client.envelope("llm_response"))["data"] == {"text": "hi"}
    assert (await client.envelope("audio_chunk"))["data"] == {"audioData": "AAA=", "sequenceNumber": 2}


async def test_a_server_that_shuts_down_closes_with_1001(start_server, node, engine):
    server = await start_server(engine=engine)
    client = await node(server.url)
    await client.envelope("session_created")
    await server.stop()
    assert (await client.close())[0] == 1001

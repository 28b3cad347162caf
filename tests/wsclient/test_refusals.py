"""What the client does when an HTTP answer comes in place of the WebSocket that it had: waits, or gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from tests.tcpserver import tcp_server
from wsclient import (
    Client,
    ConnectionFailedError,
    DialOptions,
    Handshake,
    HandshakeRefusedError,
    Opened,
    ReconnectPolicy,
)
from wsclient.errors import CredentialsRefusedError

HANG_S = 20


@asynccontextmanager
async def refusing(status: int, **headers: str) -> AsyncIterator[str]:
    """Run a server that takes the first connection and drops it, refuses the second one, and takes all others."""
    answers = [None, (status, headers)]

    async def hello(connection: ServerConnection) -> None:
        await connection.send("hello")
        if len(answers) == 1:
            connection.transport.abort()
        await connection.wait_closed()

    def answer(connection: ServerConnection, request: object) -> Response | None:
        planned = answers.pop(0) if answers else None
        if planned is None:
            return None
        fields = Headers({name.replace("_", "-"): value for name, value in planned[1].items()})
        fields["Content-Length"] = "0"
        return Response(planned[0], "No", fields)

    async with serve(hello, "127.0.0.1", 0, process_request=answer, ping_interval=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("status", [400, 401, 403, 405, 410, 426])
async def test_a_refusal_that_another_try_cannot_mend_is_the_end(make_client, record, status):
    async with refusing(status) as url, asyncio.timeout(HANG_S):
        client = make_client(url, reconnect=ReconnectPolicy(base_ms=1))
        events = record(client)
        await client.connect()
        with pytest.raises(HandshakeRefusedError) as refused:
            await client.receive("nothing")
        assert (refused.value.status, refused.value.may_retry) == (status, False)
        assert isinstance(refused.value, CredentialsRefusedError) is (status in (401, 403))
        assert [handshake.status for handshake in events.of(Handshake)] == [101, status]


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504])
async def test_a_refusal_that_passes_is_tried_again(make_client, record, status):
    async with refusing(status) as url, asyncio.timeout(HANG_S):
        client = make_client(url, reconnect=ReconnectPolicy(base_ms=1))
        events = record(client)
        await client.connect()
        await events.next(Opened)
        await events.next(Opened)
        assert [handshake.status for handshake in events.of(Handshake)] == [101, status, 101]


@pytest.mark.parametrize("written", ["7", "a date"])
async def test_it_waits_as_long_as_retry_after_asks(make_client, record, written):
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        await asyncio.sleep(0)

    after = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True) if written == "a date" else written
    async with refusing(503, Retry_After=after) as url, asyncio.timeout(HANG_S):
        client = make_client(url, sleep=sleep, reconnect=ReconnectPolicy(base_ms=1, cap_ms=2))
        events = record(client)
        await client.connect()
        await events.next(Opened)
        await events.next(Opened)
    assert waits[0] < 1
    assert waits[1] >= (7 if written == "7" else 500)


async def test_a_retry_after_of_a_year_is_cut(make_client):
    async with refusing(503, Retry_After="31536000") as url:
        client = Client(url, reconnect=None)
        await client.connect()
        again = Client(url, reconnect=None)
        with pytest.raises(HandshakeRefusedError) as refused:
            await again.connect()
        assert refused.value.retry_after_ms == 600_000
        await client.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 101 Yes\r\nX: " + b"x" * (1 << 20), "its answer is too large"),
        (b"HTTP/1.1 101 Yes\r\n" + b"X: y\r\n" * 200, "its answer is too large"),
        (b"HTTP/1.1 " + b"1" * (1 << 20), "its answer is too large"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 9999999\r\n\r\n", "its answer is too large"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_told_at_once_though_the_server_does_not_hang_up(answer, words):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async with tcp_server(handle) as port, asyncio.timeout(HANG_S):
        with pytest.raises(ConnectionFailedError, match=words):
            await Client(f"ws://127.0.0.1:{port}/x", dial=DialOptions(open_timeout_s=10 * HANG_S)).connect()

"""Messages that are JSON and take a parser long: one of them holds the event loop no longer than a parser of Python.

It is the processor time of a whole request or message that counts, against that of `json.loads` in the same run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from wscore.envelope import InvalidMessageError
from wscore.jsonvalues import MAX_LARGE_EXPONENTS
from wsserver import App, Context, Message
from wsserver.operations.port.app import port_app
from wsserver.operations.port.serving import OperationsPort
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.logs import EventLog

HANG_S = 20
SIZE = (1 << 20) - 512
TIMES = 5  # as long as json.loads, twice what it is here; the fault that this is about took forty times as long
TRIES = 3
ITEMS = {
    "empty objects": b"{}",
    "empty lists": b"[]",
    "objects": b'{"a":1}',
    "nested": b'{"a":{"b":[{}]}}',
    "towers": b"[[[[[[[[]]]]]]]]",
    "integers": b"0",
    "brackets in strings": b'"[[[["',
    "brackets beside strings": b'["["]',
    "escapes": b'"\\"["',
    "large exponents": b"1.5e300",
    "exponents in strings": b'"1e999"',
    "small ones": b"4.9e-324",
    "long numbers": b"7" * 300,
    "long runs in strings": b'"' + b"0" * 310 + b'"',
}
OFTEN = ("empty objects", "objects", "large exponents", "brackets in strings")  # the rest is tried by make test-slow
KINDS = [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow) for kind in ITEMS]


def list_of(item: bytes, count: int | None = None) -> bytes:
    return b"[" + b",".join([item] * (SIZE // (len(item) + 1) if count is None else count)) + b"]"


async def spent_s(act: Callable[[], Awaitable[object]]) -> float:
    """Return the least processor time of several tries."""
    least = float("inf")
    for _ in range(TRIES):
        before = time.process_time()
        await act()
        least = min(least, time.process_time() - before)
    return least


async def allowed_s(text: bytes) -> float:
    """Return how long a message may take: as json.loads for it, or for one of the kind that takes it long."""

    async def read(text: bytes) -> None:
        json.loads(text)

    return TIMES * max([await spent_s(lambda text=text: read(text)) for text in (text, list_of(b"{}"))])


@pytest.fixture
async def publish(start_server):
    """Publish data over the operations port of a server in this process."""
    server = await start_server()
    port = OperationsPort(PortSettings(0))
    port.start(port_app(server.operations, None, EventLog()), EventLog())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))

    async def publish(data: bytes) -> bytes:
        body = b'{"type":"news","room":"lobby","data":%b}' % data
        head = "POST /api/v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(HANG_S):
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().partition(b"content-length: ")[2].split()[0])
            return answer + await reader.readexactly(size)

    yield publish
    writer.transport.abort()
    await port.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_publish_takes_no_longer_than_a_parser(publish, kind):
    data = list_of(ITEMS[kind])

    async def act() -> None:
        assert (await publish(data)).startswith(b"HTTP/1.1 200")

    assert await spent_s(act) < await allowed_s(data)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_message_takes_no_longer_than_a_parser(start_server, open_socket, make_frame, kind):
    server = await start_server()
    peer = await open_socket(server.url)
    data = list_of(ITEMS[kind])
    frame = make_frame(0x1, b'{"type":"message","timestamp":1,"data":%b}' % data)

    async def act() -> None:
        await peer.send(frame)
        _, payload = await peer.receive()
        assert b'"type":"message"' in payload[:100], payload[:300]

    assert await spent_s(act) < await allowed_s(data)


async def test_an_app_decodes_few_numbers_that_take_long(start_server, open_socket, make_frame):
    app = App()

    @app.on("count")
    def count(ctx: Context, data: list) -> None:
        ctx.reply("counted", len(data))

    server = await start_server(app)
    peer = await open_socket(server.url)
    frames = [
        make_frame(0x1, b'{"type":"count","timestamp":1,"id":"x","data":%b}' % list_of(b"1e300", number))
        for number in (MAX_LARGE_EXPONENTS, SIZE // 6)
    ]
    await peer.send(frames[0])
    assert (await peer.receive_type("counted"))["data"] == MAX_LARGE_EXPONENTS

    async def refused() -> None:
        await peer.send(frames[1])
        error = (await peer.receive_type("error"))["data"]
        assert error["code"] == "INVALID_MESSAGE"
        assert error["message"] == "More than 256 numbers with three digits in the exponent - at `$.data`"

    assert await spent_s(refused) < await allowed_s(list_of(b"1e300"))


async def test_an_app_reads_replies_and_what_is_kept_as_fast(start_server, open_socket, make_frame):
    server = await start_server()
    peer = await open_socket(server.url, session="room")
    (connection,) = server.connections.all()
    data = list_of(b"1e300")
    allowed = await allowed_s(data)

    async def ask(data: bytes) -> Message:
        asked = asyncio.create_task(server.hub.request(connection.id, "ask"))
        id = (await peer.receive_type("ask"))["id"].encode()
        await peer.send(make_frame(0x1, b'{"type":"r","timestamp":1,"id":"%b","data":%b}' % (id, data)))
        return await asked

    async def reply() -> None:
        assert (await ask(data)).data[-1] == 1e300

    assert await spent_s(reply) < allowed
    with pytest.raises(InvalidMessageError, match="Number out of range"):
        await ask(data.replace(b"1e300]", b"1e400]"))

    few = list_of(b"1e300", 20_000)  # a message that is kept has 128 KiB at most
    await peer.send(make_frame(0x1, b'{"type":"message","timestamp":1,"data":%b}' % few))
    await peer.receive_type("message")

    async def history() -> None:
        (kept,) = await server.hub.history(session="room")
        assert kept.data[-1] == 1e300

    assert await spent_s(history) < allowed / 4

"""The operations port under attack: without a key nothing is learned, with a read-only key nothing is changed.

And nobody fills the memory or takes all connections for long.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest

from wsserver.operations.accesskeys import AccessKey, Right
from wsserver.operations.keyring import KeyRing
from wsserver.operations.port import guarded, reading
from wsserver.operations.port.app import port_app
from wsserver.operations.port.idempotency import EXPIRED_AT_ONCE, KEPT_S, MAX_BYTES, MAX_KEYS, Idempotency, Kept
from wsserver.operations.port.serving import OperationsPort
from wsserver.operations.problems import ApiError
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.logs import EventLog

HANG_S = 20
KEY, READ_KEY = "0123456789abcdef-operator", "0123456789abcdef-reader"
MIB = 1 << 20


@pytest.fixture
async def port(start_server):
    """A port with two keys, in this process; its address."""
    server = await start_server()
    keys = KeyRing(lambda: [AccessKey.of("ops", Right.WRITE, KEY, ""), AccessKey.of("r", Right.READ, READ_KEY, "")])
    serving = OperationsPort(PortSettings(0, keys=keys))
    serving.start(port_app(server.operations, keys, EventLog()), EventLog())
    yield ("127.0.0.1", int(serving.url.rpartition(":")[2]))
    await serving.stop()


def head(method, path, *headers, key=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode()


async def talk(port, *parts):
    """Send parts, and return all that comes back until the port hangs up."""
    reader, writer = await asyncio.open_connection(*port)
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        async with asyncio.timeout(HANG_S):
            with suppress(ConnectionError):
                return await reader.read()
        return b""
    finally:
        writer.transport.abort()


async def answered(port):
    """Tell whether the port still answers who asks properly."""
    answer = await talk(port, head("GET", "/healthz", "Connection: close"))
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok\n")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_without_a_key_every_path_and_method_is_answered_alike(port):
    def shown(answer):
        return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"date:"))

    paths = (
        "/",
        "/metrics",
        "/api/v1",
        "/api/v1/openapi.json",
        "/api/v1/publish",
        "/api/v1/rooms",
        "/nothing",
        "/healthz/",
    )
    for key, says in (
        (None, b"A key is needed"),
        ("wrong", b"none of this server"),
        (KEY.upper(), b"none of this server"),
    ):
        answers = {
            shown(await talk(port, head(method, path, key=key)))
            for path in paths
            for method in ("GET", "POST", "DELETE", "PUT")
        }
        assert len(answers) == 1
        assert b"401" in (answer := answers.pop())
        assert says in answer


async def test_a_head_that_never_ends_is_not_kept(port):
    before = resident()
    endless = [b"x" * 65536] * 1000
    for begin in (b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 10_000):
        assert b"200" not in await talk(port, begin, *endless)
    assert resident() - before < 30 * MIB
    assert await answered(port)


async def test_a_body_that_nobody_may_send_is_not_kept(port):
    before = resident()
    large = [b"y" * 65536] * 1000
    for key in (None, READ_KEY):
        for framing in ("Content-Length: 9999999999", "Content-Length: 65536000"):
            begin = head("POST", "/api/v1/publish", framing, "Content-Type: application/json", key=key)
            assert b"HTTP/1.1 40" in (await talk(port, begin, *large) or b"HTTP/1.1 40")
    assert resident() - before < 30 * MIB
    assert await answered(port)


async def test_what_stands_behind_a_body_is_not_kept(port):
    before = resident()
    begin = head("POST", "/healthz", "Transfer-Encoding: chunked")
    for trailer in (b"0\r\nX: " + b"z" * 65536, b"0\r\n" + b"a: b\r\n" * 20_000, b"1;" + b"e" * 65536):
        await talk(port, begin, trailer, *[b"z" * 65536] * 500)
    assert resident() - before < 30 * MIB
    assert await answered(port)


async def test_requests_that_nobody_waits_for_do_not_pile_up(port):
    before = resident()
    flood = head("GET", "/healthz") * 5000
    answers = await asyncio.gather(*(talk(port, flood, flood) for _ in range(20)))
    assert all(answer.count(b"HTTP/1.1 200") <= guarded.MAX_PIPELINED + 1 for answer in answers)
    assert resident() - before < 60 * MIB
    assert await answered(port)


@pytest.mark.parametrize(
    ("sent", "constant"),
    [
        (b"", "HEAD_S"),
        (b"GET /healthz HTTP/1.1\r\nHost: a", "HEAD_S"),
        (head("POST", "/healthz", "Content-Length: 1000") + b"12", "BODY_S"),
        (
            head("POST", "/api/v1/publish", "Content-Length: 999", "Content-Type: application/json", key=KEY) + b"{",
            "BODY_S",
        ),
    ],
    ids=["nothing", "half-a-head", "half-a-body", "half-a-body-with-a-key"],
)
async def test_who_is_slow_is_dropped_whatever_drips(port, monkeypatch, sent, constant):
    monkeypatch.setattr(guarded, constant, 0.3)
    reader, writer = await asyncio.open_connection(*port)
    writer.write(sent)

    async def drip():
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(0.05)
                writer.write(b" " if sent else b"")

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(HANG_S):
        with suppress(ConnectionError):
            await reader.read()
    dripping.cancel()
    writer.transport.abort()
    assert await answered(port)


async def test_who_reads_no_answer_is_dropped(port, monkeypatch):
    monkeypatch.setattr(guarded, "WRITE_S", 0.3)
    _, writer = await asyncio.open_connection(*port)
    writer.transport.pause_reading()
    request = head("GET", "/api/v1/openapi.json", key=READ_KEY)
    async with asyncio.timeout(HANG_S):
        while not writer.transport.is_closing():  # what waits for it grows until the port has enough of it
            writer.write(request)
            await asyncio.sleep(0.005)
    writer.transport.abort()
    assert await answered(port)


async def test_who_holds_connections_keeps_nobody_out_for_long(port, monkeypatch):
    monkeypatch.setattr(guarded, "HEAD_S", 1.0)
    held = [await asyncio.open_connection(*port) for _ in range(guarded.MAX_CONNECTIONS + 20)]
    async with asyncio.timeout(HANG_S):
        while not await answered(port):
            await asyncio.sleep(0.05)
    for _, writer in held:
        writer.transport.abort()


@pytest.mark.parametrize(
    "sent",
    [
        (head("GET", "/healthz"), b"\r\n"),
        (head("GET", "/healthz"), b"\r\n\r\n\r\n"),
        (head("GET", "/healthz", "Content-Length: 10"), b"0123456789"),
        (head("GET", "/healthz") * 3, b"\n"),
        (head("GET", "/healthz", "Connection: Upgrade", "Upgrade: websocket"), b"\r\n"),
    ],
    ids=["a-line-break", "line-breaks", "a-body-behind-its-answer", "requests-at-once", "an-upgrade"],
)
async def test_who_asks_nothing_more_is_dropped_whatever_comes_behind_the_answer(port, monkeypatch, sent):
    monkeypatch.setattr(guarded, "IDLE_S", 0.3)
    reader, writer = await asyncio.open_connection(*port)
    async with asyncio.timeout(HANG_S):
        writer.write(sent[0])
        assert b"200" in await reader.readline()
        writer.write(sent[1])
        with suppress(ConnectionError):
            await reader.read()  # until the port hangs up
    writer.transport.abort()


async def test_connections_that_are_one_too_many_are_logged_once_a_second(port, monkeypatch, caplog):
    monkeypatch.setattr(guarded, "MAX_CONNECTIONS", 3)
    held = [await asyncio.open_connection(*port) for _ in range(3)]
    assert [await talk(port, head("GET", "/healthz")) for _ in range(20)] == [b""] * 20
    lines = [record for record in caplog.records if "ops.refused" in record.getMessage()]
    assert 1 <= len(lines) <= 3
    for _, writer in held:
        writer.transport.abort()


async def test_a_body_of_one_and_those_of_all_are_bounded(port, monkeypatch):
    monkeypatch.setattr(reading, "BODIES_IN_ALL", 100_000)
    monkeypatch.setattr(guarded, "BODY_S", 5.0)
    begin = head("POST", "/api/v1/publish", "Content-Length: 80001", "Content-Type: application/json", key=KEY)
    _, writer = await asyncio.open_connection(*port)
    writer.write(begin + b" " * 80_000)  # and one byte is missing
    for _ in range(100):
        answer = await talk(port, begin, b" " * 80_001)
        if b"BUSY" in answer:
            break
    assert b"HTTP/1.1 503" in answer
    writer.transport.abort()
    body = b'{"type":"x","room":"a"}' + b" " * 79_000
    exact = head(
        "POST",
        "/api/v1/publish",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Connection: close",
        key=KEY,
    )
    async with asyncio.timeout(HANG_S):
        while b"HTTP/1.1 200" not in await talk(port, exact, body):  # what the other one held is free again
            await asyncio.sleep(0.02)


async def test_idempotency_keys_take_a_bounded_room_and_are_forgotten():
    now_s = 0.0
    store = Idempotency(lambda: now_s)
    done = 0

    async def act():
        nonlocal done
        done += 1
        return Kept(200, b"x" * 2000)

    def failed(error):
        return Kept(500, str(error).encode())

    async def once(number):
        return await store.once("ops", "/", str(number), b"body", act, failed)

    for number in range(30_000):
        await once(number)
    assert store.used <= MAX_BYTES + 4000
    assert store.used < MAX_KEYS * 600
    assert done == 30_000
    await once(29_999)
    assert done == 30_000  # known still
    now_s = KEPT_S + 1
    await once(29_999)
    assert done == 30_001  # forgotten by then
    before = store.used
    await once(30_000)
    assert 0 < before - store.used <= EXPIRED_AT_ONCE * 3000  # and not all in one turn of the event loop
    for number in range(30_001, 30_201):
        await once(number)
    assert store.used < 250 * 3000
    with pytest.raises(ApiError, match="another body"):
        await store.once("ops", "/", "29999", b"other", act, failed)


async def test_a_broadcast_does_not_multiply_its_data_without_bound(port):
    rooms = ",".join(f'"r{number}"' for number in range(1000))
    data = b'"' + b"x" * 100_000 + b'"'
    broadcast = b'{"type":"x","data":%b,"rooms":[%b]}' % (data, rooms.encode())
    batch = b'{"acts":[{"act":"broadcast",%b]}' % broadcast[1:]
    for path, body in (("broadcast", broadcast), ("batch", batch)):
        length = f"Content-Length: {len(body)}"
        begin = head("POST", f"/api/v1/{path}", length, "Content-Type: application/json", key=KEY)
        answer = await talk(port, begin + body)
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert b"TOO_LARGE" in answer

"""Requests that are slow, huge, smuggled or forged: one answer at most, and nobody else waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

HANG_S = 20
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\nSec-WebSocket-Version: 13"


async def dial(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def answers(url: str, request: bytes) -> list[int]:
    """Send a request and read until the server closes; returns the status of every answer."""
    reader, writer = await dial(url)
    received = b""
    with suppress(ConnectionError):  # it may close with unread bytes
        writer.write(request)
        async with asyncio.timeout(HANG_S):
            while chunk := await reader.read(65536):
                received += chunk
    writer.close()
    return [int(part.split(b" ")[0]) for part in received.split(b"HTTP/1.1 ")[1:]]


def head(url: str, *lines: str, target: str = "", method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    parts = urlsplit(url)
    return "\r\n".join((f"{method} {target or parts.path} {version}", f"Host: {parts.netloc}", *lines, "", "")).encode(
        "latin-1"
    )


@pytest.fixture(autouse=True)
def quiet(caplog) -> Iterator[None]:
    """Nothing that a stranger sends is worth a warning, let alone a traceback."""
    yield
    told = [record.getMessage() for record in caplog.get_records("call")]
    assert [event for event in told if event != "server.stalled"] == []  # that one is about this machine


async def test_500_slow_handshakes_hold_nobody_up_and_are_dropped(start_server, neighbour_of, engine):
    server = await start_server(engine=engine, handshake_timeout_ms=1500)
    before = await neighbour_of(server.url)
    slow = [await dial(server.url) for _ in range(500)]
    for _, writer in slow:
        writer.write(b"G")
    await before.notices_nothing()
    after = await neighbour_of(server.url)
    await after.notices_nothing()
    async with asyncio.timeout(HANG_S):
        for reader, writer in slow:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
    await before.notices_nothing()


async def test_a_head_that_trickles_in_is_read_while_there_is_time(start_server, engine):
    server = await start_server(engine=engine)
    reader, writer = await dial(server.url)
    for byte in head(server.url, UPGRADE, target=f"{urlsplit(server.url).path}?token=x"):
        writer.write(bytes([byte]))
        await writer.drain()
    line = await asyncio.wait_for(reader.readline(), HANG_S)
    assert b" 101 " in line
    writer.close()


@pytest.mark.parametrize("line_end", [b"\n", b"\r"], ids=["LF", "CR"])
async def test_a_head_without_crlf_is_no_request(start_server, engine, line_end):
    server = await start_server(engine=engine, handshake_timeout_ms=300)
    got = await answers(server.url, head(server.url, UPGRADE).replace(b"\r\n", line_end))
    assert got in ([], [400])


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer \xff\xfe",
        "Authorization: Bearer guest_\xb2",
        "Sec-WebSocket-Protocol: wsctl.v1, token.\xff",
        "Sec-WebSocket-Protocol: token.\xb2\xb2\xb2\xb2",
        "Origin: http://\xff\xfe",
        "Connection: \xff",
        "User-Agent: \x80\x9b31m",
    ],
    ids=range(7),
)
async def test_bytes_beyond_ascii_in_a_header_are_a_wrong_value_like_any_other(start_server, engine, line):
    server = await start_server(engine=engine, close_timeout_ms=100)
    assert await answers(server.url, head(server.url, UPGRADE, line)) in ([101], [400])


@pytest.mark.parametrize(
    "first_bytes", [b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "one byte", "no TLS"]
)
async def test_a_slow_or_wrong_tls_handshake_is_dropped_in_time(start_server, engine, make_certificate, first_bytes):
    made = make_certificate("localhost")
    server = await start_server(engine=engine, tls_cert=made.cert, tls_key=made.key, handshake_timeout_ms=300)
    assert await answers(server.url, first_bytes) == []


OVERSIZE = [
    ("2,000 headers", lambda: [f"X-{n}: {n}" for n in range(2000)]),
    ("200 headers", lambda: [f"X-{n}: {n}" for n in range(200)]),
    ("a header line of 9 KiB", lambda: ["X: " + "a" * 9216]),
    ("a header line of 1 MiB", lambda: ["X: " + "a" * (1 << 20)]),
    ("a header without an end", lambda: ["X: " + "a" * 70_000 + "\r\n " * 100]),
]


@pytest.mark.parametrize(("_name", "lines"), OVERSIZE, ids=[case[0] for case in OVERSIZE])
async def test_a_head_too_large_is_refused(start_server, neighbour_of, engine, _name, lines):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    assert await answers(server.url, head(server.url, *lines(), UPGRADE)) == [431]
    await neighbour.notices_nothing()


@pytest.mark.parametrize(("size", "status"), [(9_000, 404), (20_000, 414), (70_000, 431)])
async def test_a_request_line_too_long_is_refused(start_server, neighbour_of, engine, size, status):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    assert await answers(server.url, head(server.url, UPGRADE, target="/" + "a" * size)) == [status]
    await neighbour.notices_nothing()


NEXT = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = [
    ("two lengths", ("Content-Length: 5", "Content-Length: 6"), "hello" + NEXT),
    ("a length and chunks", ("Content-Length: 5", "Transfer-Encoding: chunked"), "0\r\n\r\n" + NEXT),
    ("chunks in disguise", ("Transfer-Encoding: xchunked",), "0\r\n\r\n" + NEXT),
    ("a body", ("Content-Length: 5",), "hello" + NEXT),
    ("a second request", (), NEXT),
    ("a folded header", ("X: a", " b"), NEXT),
    ("a space before the colon", ("Host : evil",), NEXT),
    ("a NUL in a header", ("X: a\0b",), NEXT),
    ("a bare CR in a header", ("X: a\rHost: evil",), NEXT),
    ("a bare LF in a header", ("X: a\nHost: evil",), NEXT),
    ("no colon", ("nonsense",), NEXT),
    ("no name", (": nonsense",), NEXT),
]


@pytest.mark.parametrize("upgrade", [False, True], ids=["plain", "upgrade"])
@pytest.mark.parametrize(("_name", "lines", "body"), SMUGGLED, ids=[case[0] for case in SMUGGLED])
async def test_no_second_request_is_smuggled_in(start_server, neighbour_of, engine, upgrade, _name, lines, body):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    request = head(server.url, *lines, *([UPGRADE] if upgrade else [])) + body.encode()
    got = await answers(server.url, request)
    # What comes behind an upgrade may count as frames, which then break the protocol.
    assert got in ([[400], [101]] if upgrade and not lines else [[400], [426]]), got
    await neighbour.notices_nothing()


async def test_of_two_requests_in_one_segment_one_is_answered_at_most(start_server, neighbour_of, engine):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    assert await answers(server.url, NEXT.encode() * 2) in ([200], [400])
    assert await answers(server.url, NEXT.encode()) == [200]
    await neighbour.notices_nothing()


STRANGE = [
    ("HTTP/1.0", {"version": "HTTP/1.0"}),
    ("HTTP/2 preface", {"method": "PRI", "target": "*", "version": "HTTP/2.0"}),
    ("HTTP/9.9", {"version": "HTTP/9.9"}),
    ("HTTP/0.9", {"version": ""}),
    ("an empty line ahead", {"method": "\r\nGET"}),
    ("POST", {"method": "POST"}),
    ("no method", {"method": ""}),
    ("a long method", {"method": "G" * 5000}),
    ("an absolute target", {"target": "http://evil.example/socket.io/"}),
    ("an escaped target", {"target": "/%73ocket.io/%0d%0aX: y"}),
    ("a target up the tree", {"target": "/socket.io/../../etc/passwd"}),
    ("bytes beyond ASCII", {"target": "/s\xff\xfe"}),
    ("an endless query", {"target": "/socket.io/?" + "a=1&" * 400}),
]


@pytest.mark.parametrize(("_name", "parts"), STRANGE, ids=[case[0] for case in STRANGE])
async def test_a_strange_request_is_refused_or_cut(start_server, neighbour_of, engine, _name, parts):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    got = await answers(server.url, head(server.url, UPGRADE, **parts))
    assert got in ([400], [404], [405], [426], [505]), got
    await neighbour.notices_nothing()


WRONG_UPGRADES = [
    ("no key", ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")),
    ("two keys", (UPGRADE, KEY)),
    ("a short key", (UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),)),
    ("a key that is no base64", (UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "%%%%%%%%%%%%%%%%%%%%%%%%"),)),
    ("version 12", (UPGRADE.replace("13", "12"),)),
    ("versions 13 and 12", (UPGRADE, "Sec-WebSocket-Version: 12")),
    ("two hosts", (UPGRADE, "Host: evil.example")),
    ("no version", ("Upgrade: websocket", "Connection: Upgrade", KEY)),
    ("no upgrade", ("Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13")),
    ("another protocol", (UPGRADE.replace("websocket", "h2c"),)),
    ("two origins", (UPGRADE, "Origin: http://a.example", "Origin: http://a.example")),
    ("no connection", ("Upgrade: websocket", KEY, "Sec-WebSocket-Version: 13")),
]


@pytest.mark.parametrize(("_name", "lines"), WRONG_UPGRADES, ids=[case[0] for case in WRONG_UPGRADES])
async def test_a_wrong_upgrade_is_refused(start_server, neighbour_of, engine, _name, lines):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    assert await answers(server.url, head(server.url, *lines)) in ([400], [426])
    await neighbour.notices_nothing()

"""Plain HTTP on the server's port: whatever is no upgrade gets the same answer, whatever the engine."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from wsserver.engines.request import HttpReply

HANG_S = 20
ALLOW = "GET, HEAD, OPTIONS"
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Answer:
    """One HTTP answer, taken apart."""

    def __init__(self, received: bytes) -> None:
        head, _, self.body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.version, status, self.phrase = first.split(" ", 2)
        self.status = int(status)
        self.fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def __getitem__(self, name: str) -> str:
        (value,) = [value for key, value in self.fields if key == name]
        return value


async def ask(url: str, first: str, *lines: str, host: bool = True) -> Answer:
    """Send one request and read until the server closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    hosts = (f"Host: {parts.netloc}",) if host else ()
    writer.write("\r\n".join((first, *hosts, *lines, "", "")).encode())
    received = await asyncio.wait_for(reader.read(), HANG_S)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return Answer(received)


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x00", b"\r\n", b" GET / HTTP/1.1", b"{"])
async def test_what_cannot_be_a_request_is_answered_before_it_ends(start_server, engine, first):
    server = await start_server(engine=engine, handshake_timeout_ms=HANG_S * 1000)
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(first)
    assert Answer(await asyncio.wait_for(reader.readuntil(b"request\n"), HANG_S / 2)).status == 400
    writer.close()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_health_check_answers_get_and_head_by_either_version(start_server, engine, method, version):
    server = await start_server(engine=engine)
    answer = await ask(server.url, f"{method} /healthz {version}", host=False)
    assert (answer.version, answer.status, answer.phrase) == ("HTTP/1.1", 200, "OK")
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer["content-length"] == "3"
    assert answer["connection"] == "close"
    assert answer.body == (b"ok\n" if method == "GET" else b"")


@pytest.mark.parametrize("target", ["/", "*", "/healthz", "/socket.io/", "/elsewhere"])
async def test_options_says_what_may_be_asked_as_haproxy_does_by_default(start_server, engine, target):
    server = await start_server(engine=engine)
    answer = await ask(server.url, f"OPTIONS {target} HTTP/1.0", host=False)
    assert (answer.status, answer["allow"], answer.body) == (204, ALLOW, b"")
    assert "content-length" not in dict(answer.fields)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "CONNECT", "get", "NOTIFY"])
async def test_any_other_method_is_not_allowed(start_server, engine, method):
    server = await start_server(engine=engine)
    answer = await ask(server.url, f"{method} /healthz HTTP/1.1", "Content-Length: 0", *UPGRADE)
    assert (answer.status, answer["allow"]) == (405, ALLOW)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_no_balancer_takes_a_draining_server_for_a_healthy_one(start_server, open_raw, engine, method):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    client.ws.transport.pause_reading()  # so that the drain cannot finish
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    assert (await ask(server.url, f"{method} /healthz HTTP/1.0")).status == 503
    client.ws.transport.resume_reading()
    await stopping


@pytest.mark.parametrize("first", ["GET /socket.io/ HTTP/1.0", "HEAD /socket.io/ HTTP/1.1"])
async def test_only_get_by_http_1_1_is_upgraded(start_server, engine, first):
    server = await start_server(engine=engine)
    answer = await ask(server.url, first, *UPGRADE)
    assert (answer.status, answer["upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2"])
async def test_another_version_of_http_is_named_as_the_problem(start_server, engine, version):
    server = await start_server(engine=engine)
    assert (await ask(server.url, f"GET /healthz {version}")).status == 505


async def test_an_answer_has_each_field_once(start_server, engine):
    server = await start_server(engine=engine)
    answer = await ask(server.url, "GET /elsewhere HTTP/1.1")
    names = [name for name, _ in answer.fields]
    assert sorted(names) == ["connection", "content-length", "content-type", "date"]


async def test_an_answer_may_have_any_status_body_and_type(start_server, engine, monkeypatch):
    server = await start_server(engine=engine)
    replies = [
        HttpReply(HTTPStatus.FOUND, headers=(("Location", "/socket.io/"),)),
        HttpReply(HTTPStatus.OK, b"\x89PNG\xff", content_type="image/png"),
    ]
    monkeypatch.setattr(type(server._upgrade), "answer", lambda *_: replies.pop(0))
    moved = await ask(server.url, "GET / HTTP/1.1")
    assert (moved.status, moved["location"], moved["content-length"]) == (302, "/socket.io/", "0")
    picture = await ask(server.url, "GET / HTTP/1.1")
    assert (picture.status, picture["content-type"], picture.body) == (200, "image/png", b"\x89PNG\xff")


async def test_a_door_that_fails_is_answered_with_500_and_logged(start_server, engine, monkeypatch, caplog):
    server = await start_server(engine=engine)
    with monkeypatch.context() as broken:
        broken.setattr(type(server._upgrade), "answer", lambda *_: 1 / 0)
        answer = await ask(server.url, "GET /healthz HTTP/1.1")
    assert (answer.status, answer.body) == (500, b"internal error\n")
    assert [record.getMessage() for record in caplog.records] == ["request.failed"]
    assert (await ask(server.url, "GET /healthz HTTP/1.1")).status == 200


@pytest.mark.parametrize(
    ("first", "status", "shown"),
    [
        ("GET /else%0awhere/secret?token=geheim HTTP/1.1", 404, {"method": "GET", "path": "/else\nwhere/…"}),
        ("GET /socket.io/?token=geheim HTTP/1.1", 426, {"method": "GET", "path": "/socket.io/"}),
        ("POST /x?token=geheim HTTP/1.1", 405, {"method": "POST", "path": "/x"}),
        ("nonsense geheim", 400, {}),
    ],
)
async def test_a_refused_request_is_in_the_log_without_its_query(start_server, engine, caplog, first, status, shown):
    server = await start_server(engine=engine)
    caplog.set_level(logging.INFO, "wsctl")
    assert (await ask(server.url, first)).status == status
    (fields,) = [record.fields for record in caplog.records if record.getMessage() == "request.refused"]
    assert fields == {"peer": "127.0.0.1", "status": status, **shown}


async def test_a_health_check_is_in_the_log_at_debug_alone(start_server, engine, caplog):
    server = await start_server(engine=engine)
    caplog.set_level(logging.DEBUG, "wsctl")
    assert (await ask(server.url, "GET /healthz HTTP/1.1")).status == 200
    (record,) = [entry for entry in caplog.records if entry.getMessage() == "request.answered"]
    assert record.levelno == logging.DEBUG


async def test_a_long_answer_is_read_whole_although_more_was_sent_than_is_read(start_server, engine):
    server = await start_server(engine=engine)
    answer = await ask(server.url, "GET /healthz HTTP/1.1", *(f"X-{n}: {'y' * 8000}" for n in range(200)))
    assert (answer.status, answer.body) == (431, b"request head over 32768 bytes\n")

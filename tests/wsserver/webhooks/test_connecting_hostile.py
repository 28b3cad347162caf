"""Backends and clients that mean harm, or just fail: nobody comes in for it, nothing grows, and nobody else notices."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import ssl

import pytest

from tests.wsserver.webhooks.deciders import HANG_S, UNDECIDED, answer, app_of, decider, outcomes
from wsserver.webhooks import connecting


@pytest.fixture
async def backend():
    async with decider() as backend:
        yield backend


DEEP = b'{"state":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}"
BAD = {
    "no-json": (answer(b"<html>canary"), "no JSON"),
    "empty": (answer(b""), "no JSON"),
    "no-utf-8": (answer(b'{"user":"\xff\xfe"}'), "no JSON"),
    "surrogate": (answer(b'{"user":"\\ud800"}'), "no JSON"),
    "two-values": (answer(b"{}{}"), "no JSON"),
    "list": (answer(b"[]"), r"\$ wrong: Expected"),
    "null": (answer(b"null"), r"\$ wrong: Expected"),
    "wrong-type": (answer(b'{"user":["canary"]}'), r"\$.user wrong: Expected `str`"),
    "null-user": (answer(b'{"user":null}'), r"\$.user wrong"),
    "misspelt": (answer(b'{"refused":{"canary":1}}'), r"a field in \$ that does not exist"),
    "misspelt-inside": (answer(b'{"refuse":{"canary":1}}'), r"a field in \$.refuse that"),
    "both": (answer(b'{"refuse":{},"user":"canary"}'), "refused and let in at once"),
    "twice": (answer(b'{"user":"canary","user":"ann"}'), "a field twice"),
    "twice-escaped": (answer(b'{"user":"canary","us\\u0065r":"ann"}'), "a field twice"),
    "twice-refused": (answer(b'{"refuse":{"code":"FORBIDDEN"},"refuse":{}}'), "a field twice"),
    "twice-inside": (answer(b'{"rooms":[{"pattern":"a","publish":false,"publish":true}]}'), "a field twice"),
    "twice-state": (answer(b'{"state":{"a":1},"state":{"a":2}}'), "a field twice"),
    "code": (answer(b'{"refuse":{"code":"CANARY"}}'), "code that does not exist"),
    "close-code": (answer(b'{"refuse":{"closeCode":1006}}'), "close code"),
    "close-code-huge": (answer(b'{"refuse":{"closeCode":99999999999999999999}}'), "close"),
    "empty-user": (answer(b'{"user":""}'), r"\$.user wrong"),
    "long-user": (answer(b'{"user":"%b"}' % (b"x" * 257)), r"\$.user wrong"),
    "valid-for-ever": (answer(b'{"user":"a","validMs":1e300}'), "validMs"),
    "valid-never": (answer(b'{"user":"a","validMs":0}'), "validMs"),
    "valid-nobody": (answer(b'{"validMs":1000}'), "validMs"),
    "rooms": (answer(b'{"rooms":["a b"]}'), r"\$.rooms wrong"),
    "rooms-type": (answer(b'{"rooms":[1,null,[]]}'), r"\$.rooms wrong"),
    "rooms-nested": (answer(b'{"rooms":[{"pattern":[]}]}'), r"\$.rooms wrong"),
    "rooms-many": (answer(json.dumps({"rooms": ["a"] * 65}).encode()), r"\$.rooms wrong"),
    "scopes-many": (answer(json.dumps({"scopes": list(map(str, range(65)))}).encode()), r"\$.scopes wrong"),
    "scope-long": (answer(json.dumps({"scopes": ["x" * 129]}).encode()), r"\$.scopes wrong"),
    "session": (answer(b'{"session":"a b\\u202e"}'), r"\$.session wrong"),
    "state-type": (answer(b'{"state":7}'), r"\$.state that does not fit"),
    "state-attribute": (answer(b'{"state":{"__class__":1}}'), r"\$.state that does not fit"),
    "deep": (answer(DEEP[:60_000]), "nested too deeply|no JSON"),
    "deep-whole": (answer(b'{"state":' + b"[" * 30_000 + b"]" * 30_000 + b"}"), "nested too deeply|not fit"),
    "redirect": (answer(b"{}", "307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n"), "it answered 307"),
    "moved": (answer(b"{}", "301 Moved", "Location: /elsewhere\r\n"), "it answered 301"),
    "500": (answer(b"{}", "500 canary\x1b[31m"), "it answered 500|HTTP"),
    "401": (answer(b"{}", "401 Unauthorized"), "it answered 401"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "it answered 204"),
    "201": (answer(b"{}", "201 Created"), "it answered 201"),
    "too-large": (answer(b'{"user":"ann"}' + b" " * 65_536), "more than 64 KiB"),
    "gib": (b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n" + b" " * 200_000, "more than 64 KiB"),
    "gzip": (answer(b"\x1f\x8b\x08\x00canary", head="Content-Encoding: gzip\r\n"), "no JSON"),
    "no-http": (b"\x00\xff canary\x1b[31m\r\n\r\n", "does not speak HTTP"),
    "smuggled": (answer(b"{}\r\n", head="Transfer-Encoding: chunked\r\n"), "does not speak HTTP"),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", None),
    "gone": (None, "connection was lost"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_nonsense_lets_nobody_in_and_harms_nobody(start_server, open_raw, backend, caplog, name):
    written, problem = BAD[name]
    server = await start_server(app_of(), connecting=backend.settings, handshake_timeout_ms=HANG_S * 1000)
    before = await open_raw(server.url)
    if problem is None:  # the rest never comes
        server2 = await start_server(app_of(), connecting=backend.settings, handshake_timeout_ms=300)
        server, problem = server2, "did not answer in time"
    backend.decide = lambda asked: written
    with caplog.at_level(logging.INFO, "wsctl"):
        client = await open_raw(server.url, greet=False)
        assert await client.received_until_closed() == UNDECIDED
    (told,) = [record for record in caplog.records if record.message == "connecting.undecided"]
    assert told.fields["clients"] == 1
    assert re.search(problem, told.fields["problem"]), told.fields
    assert "canary" not in str([(record.message, getattr(record, "fields", None)) for record in caplog.records])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    await before.send("who")
    assert (await before.receive())["type"] == "you"
    backend.decide = lambda asked: {}
    again = await open_raw(server.url)
    assert again.greeting["type"] == "session_created"
    assert sum(outcomes(server).values()) - outcomes(server)["admitted"] == 1
    assert server.metrics.value("wsctl_connections_refused_total", disconnect="hook-failed") == 1
    assert server.metrics.value("wsctl_handlers_failed_total") == 0
    assert (
        server.metrics.value("wsctl_connecting_waiting") == server.metrics.value("wsctl_connecting_waiting_bytes") == 0
    )


def drips(what: bytes, head: bytes):
    async def write(backend):
        (writer,) = backend.connections
        writer.write(head)
        while True:
            writer.write(what)
            await asyncio.sleep(0.02)

    return write


@pytest.mark.parametrize(
    "drip",
    [
        drips(b"", b""),
        drips(b"H", b""),
        drips(b"X-Y: z\r\n", b"HTTP/1.1 200 OK\r\n"),
        drips(b" ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{"),
        drips(b"1\r\n \r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n", b""),
    ],
    ids=["nothing", "status", "head", "body", "chunks", "continue"],
)
async def test_one_that_drips_is_given_up_in_time_and_holds_no_ping_up(start_server, open_raw, backend, engine, drip):
    server = await start_server(engine=engine, connecting=backend.settings, handshake_timeout_ms=400)
    pinging = await open_raw(server.url)
    backend.decide = lambda asked: drip(backend)
    client = await open_raw(server.url, greet=False)
    await backend.wait_asked(2)
    await pinging.send("ping")
    assert (await pinging.receive())["type"] == "pong"
    assert await client.received_until_closed() in (UNDECIDED, ([], 1013, UNDECIDED[2]))
    assert outcomes(server).keys() <= {"admitted", "timeout", "no-answer"}
    assert outcomes(server)["admitted"] == 1


async def test_a_backend_that_is_not_there_is_told_of_once_and_then_with_a_count(
    start_server, open_raw, backend, caplog, monkeypatch
):
    monkeypatch.setattr(connecting, "TELL_EVERY_S", 0.3)
    settings = backend.settings
    async with decider() as other:
        gone = other.settings
    assert settings is not gone
    server = await start_server(connecting=gone)
    with caplog.at_level(logging.WARNING, "wsctl"):
        for _ in range(5):
            client = await open_raw(server.url, greet=False)
            assert await client.received_until_closed() == UNDECIDED
        async with asyncio.timeout(HANG_S):
            while len(caplog.records) < 2:
                await asyncio.sleep(0.01)
    assert [record.fields["problem"] for record in caplog.records] == ["it cannot be reached"] * 2
    assert [record.fields["clients"] for record in caplog.records] == [1, 4]
    assert outcomes(server) == {"no-answer": 5}


async def test_its_certificate_is_verified(start_server, open_raw, make_certificate, monkeypatch, caplog):
    certificate = make_certificate("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    async with decider(ssl=context) as backend:
        server = await start_server(connecting=backend.settings)
        client = await open_raw(server.url, greet=False)
        assert await client.received_until_closed() == UNDECIDED
        assert not backend.asked
        (told,) = [record for record in caplog.records if record.message == "connecting.undecided"]
        assert told.fields["problem"] == "its certificate is not one to trust"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
        trusting = await start_server(connecting=backend.settings)
        assert (await open_raw(trusting.url)).greeting["type"] == "session_created"
        plain = backend.settings
        object.__setattr__(plain.target, "url", backend.url.replace("https", "http"))
        cleartext = await start_server(connecting=plain)
        client = await open_raw(cleartext.url, greet=False)
        assert (await client.received_until_closed())[1] == 1013


async def test_a_client_that_leaves_meanwhile_is_asked_about_no_more(start_server, open_raw, backend, engine):
    backend.decide = lambda asked: asyncio.Event().wait()
    server = await start_server(engine=engine, connecting=backend.settings)
    client = await open_raw(server.url, greet=False)
    await backend.wait_asked(1)
    assert server.metrics.value("wsctl_connecting_waiting") == 1
    client.ws.transport.abort()
    async with asyncio.timeout(HANG_S):
        while backend.has_peer or server.metrics.value("wsctl_connecting_waiting"):
            await asyncio.sleep(0.005)
    assert outcomes(server) == {"client-gone": 1}
    assert server.metrics.value("wsctl_connecting_waiting_bytes") == 0
    backend.decide = lambda asked: {}
    assert (await open_raw(server.url)).greeting["type"] == "session_created"


async def test_not_too_many_are_asked_about_at_once_and_not_too_many_wait(
    start_server, open_raw, backend, engine, monkeypatch
):
    monkeypatch.setattr(connecting, "MAX_ASKED", 3)
    monkeypatch.setattr(connecting, "MAX_WAITING", 6)
    gate = asyncio.Event()

    async def decide(asked):
        await gate.wait()
        return {}

    backend.decide = decide
    server = await start_server(engine=engine, connecting=backend.settings)
    clients = [await open_raw(server.url, greet=False) for _ in range(6)]
    await backend.wait_asked(3)
    async with asyncio.timeout(HANG_S):
        while server.metrics.value("wsctl_connecting_waiting") < 6:
            await asyncio.sleep(0.005)
    crowd = await open_raw(server.url, greet=False)
    assert await crowd.received_until_closed() == ([], 1013, "Too many wait for the server to decide; try again")
    gone = clients.pop()
    gone.ws.transport.abort()
    async with asyncio.timeout(HANG_S):
        while server.metrics.value("wsctl_connecting_waiting") > 5:
            await asyncio.sleep(0.005)
    gate.set()
    for client in clients:
        assert (await client.receive())["type"] == "session_created"
    assert backend.most == 3
    assert outcomes(server) == {"admitted": 5, "crowd": 1, "client-gone": 1}


async def test_what_waits_is_bounded_in_bytes_too(start_server, open_raw, backend, monkeypatch):
    monkeypatch.setattr(connecting, "MAX_WAITING_BYTES", 10_000)
    backend.decide = lambda asked: asyncio.Event().wait()
    server = await start_server(connecting=backend.settings)
    await open_raw(server.url, greet=False, additional_headers={"Cookie": "a=" + "x" * 7000})
    await backend.wait_asked(1)
    assert 7000 < server.metrics.value("wsctl_connecting_waiting_bytes") < 10_000
    second = await open_raw(server.url, greet=False, additional_headers={"Cookie": "a=" + "x" * 7000})
    assert (await second.received_until_closed())[1] == 1013
    assert outcomes(server) == {"crowd": 1}


async def test_the_end_of_the_server_sends_away_who_still_waits(start_server, open_raw, backend, engine):
    backend.decide = lambda asked: asyncio.Event().wait()
    server = await start_server(engine=engine, connecting=backend.settings)
    client = await open_raw(server.url, greet=False)
    await backend.wait_asked(1)
    stopping = asyncio.create_task(server.stop())
    assert await client.close_code() == 1001
    await stopping
    async with asyncio.timeout(HANG_S):
        while backend.has_peer:
            await asyncio.sleep(0.005)


async def test_the_answer_about_one_client_is_never_that_about_another(start_server, open_raw, backend):
    """A backend that writes two answers to one question, as one does that is fooled into splitting its own."""
    evil = answer(b'{"user":"admin","scopes":["admin"]}')
    backend.decide = lambda asked: answer(json.dumps({"user": asked["cookie"]}).encode()) + evil
    server = await start_server(app_of(), connecting=backend.settings)
    for name in ("ann", "bob", "eve"):
        client = await open_raw(server.url, token=None, additional_headers={"Cookie": name})
        assert client.greeting["data"]["userId"] == name
    late = asyncio.Event()

    async def decide(asked):
        late.set()
        return answer(json.dumps({"user": asked["cookie"]}).encode())

    backend.decide = decide
    await open_raw(server.url, token=None, additional_headers={"Cookie": "ann"})
    for writer in tuple(backend.connections):
        writer.write(evil)
    client = await open_raw(server.url, token=None, additional_headers={"Cookie": "eve"})
    assert client.greeting["data"]["userId"] == "eve"


INJECTED = 'a="},"user":"admin","x":{"\\u0000\\\\"'


async def test_what_a_client_writes_stays_within_its_field(start_server, open_raw, backend, engine):
    server = await start_server(engine=engine, connecting=backend.settings)
    client = await open_raw(
        server.url,
        session="lobby&lang=%22%7D%2C%0d%0aX-Evil%3a1&a%5b%5d=%ff%fe%ed%a0%80",
        additional_headers={"Cookie": INJECTED},
        user_agent_header="\xff\xfe\x80 \t{}",
    )
    assert client.greeting["data"]["isGuest"]
    (asked,) = backend.asked
    assert asked["user"] != "admin"
    assert asked["cookie"] == INJECTED
    assert asked["userAgent"] == "\xff\xfe\x80 \t{}"
    assert asked["query"]["lang"] == '"},\r\nX-Evil:1'
    assert asked["query"].keys() == {"sessionId", "lang", "a[]"}
    assert "x-evil" not in backend.heads[0]


PROXIES = (ipaddress.ip_network("127.0.0.1"),)


async def until(condition) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():
            await asyncio.sleep(0.005)


async def connect_and_leave(open_raw, server, backend, headers=None, *, is_asked: bool = True) -> None:
    """Leave as soon as the backend is asked, or has a client waiting that it is not asked about."""
    asked = len(backend.asked)
    client = await open_raw(server.url, greet=False, additional_headers=headers)
    if is_asked:
        await backend.wait_asked(asked + 1)
    else:
        await until(lambda: server.metrics.value("wsctl_connecting_waiting"))
    client.ws.transport.abort()
    await until(lambda: not server.metrics.value("wsctl_connecting_waiting"))


def from_host(number: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"192.0.2.{number}"}


async def test_who_connects_and_leaves_puts_no_more_questions_to_a_backend_that_does_not_notice(
    start_server, open_raw, backend, monkeypatch, engine
):
    monkeypatch.setattr(connecting, "MAX_ASKED", 6)
    monkeypatch.setattr(connecting, "MAX_ASKED_OF_ADDRESS", 3)

    def decide(asked):
        return {} if asked["address"] == "192.0.2.7" else asyncio.Event().wait()

    backend.decide = decide
    server = await start_server(engine=engine, connecting=backend.settings, trusted_proxies=PROXIES)
    for count in range(8):
        await connect_and_leave(open_raw, server, backend, is_asked=count < 3)
    assert backend.now == len(backend.asked) == server.metrics.value("wsctl_connecting_asked") == 3
    await until(lambda: not backend.has_peer)  # all are closed, and it goes on
    other = await open_raw(server.url, additional_headers=from_host(7))
    assert other.greeting["type"] == "session_created"
    for host in range(8, 16):
        await connect_and_leave(open_raw, server, backend, from_host(host), is_asked=host < 11)
    assert backend.now == server.metrics.value("wsctl_connecting_asked") == 6, "in all"
    assert outcomes(server) == {"client-gone": 16, "admitted": 1}


async def test_who_has_left_keeps_a_turn_about_as_long_as_answers_take(start_server, open_raw, backend, monkeypatch):
    monkeypatch.setattr(connecting, "MAX_ASKED_OF_ADDRESS", 1)
    monkeypatch.setattr(connecting, "LEFT_S", 0.01)
    monkeypatch.setattr(connecting, "_FADES", 0.0)
    server = await start_server(connecting=backend.settings, handshake_timeout_ms=3_600_000)
    await open_raw(server.url)  # it answers quickly
    backend.decide = lambda asked: asyncio.Event().wait()
    await connect_and_leave(open_raw, server, backend)
    backend.decide = lambda asked: {}
    assert (await open_raw(server.url)).greeting["type"] == "session_created"


async def test_who_has_left_keeps_a_turn_no_longer_than_the_time_for_the_handshake(
    start_server, open_raw, backend, monkeypatch
):
    monkeypatch.setattr(connecting, "MAX_ASKED_OF_ADDRESS", 1)
    backend.decide = lambda asked: asyncio.Event().wait()
    server = await start_server(connecting=backend.settings, handshake_timeout_ms=300)
    await connect_and_leave(open_raw, server, backend)
    await until(lambda: not server.metrics.value("wsctl_connecting_asked"))
    backend.decide = lambda asked: {}
    assert (await open_raw(server.url)).greeting["type"] == "session_created"


async def test_one_address_may_not_fill_the_line(start_server, open_raw, backend, monkeypatch):
    monkeypatch.setattr(connecting, "MAX_WAITING_OF_ADDRESS", 2)
    backend.decide = lambda asked: asyncio.Event().wait()
    server = await start_server(connecting=backend.settings, trusted_proxies=PROXIES)
    headers = {"X-Forwarded-For": "2001:db8::1"}
    for host in (1, 2):
        await open_raw(server.url, greet=False, additional_headers={"X-Forwarded-For": f"2001:db8::{host}"})
    await backend.wait_asked(2)
    third = await open_raw(server.url, greet=False, additional_headers=headers)
    told = "Too many from your address wait for the server to decide; try again"
    assert await third.received_until_closed() == ([], 1013, told)
    backend.decide = lambda asked: {}
    other = await open_raw(server.url, additional_headers={"X-Forwarded-For": "2001:db8:0:1::1"})
    assert other.greeting["type"] == "session_created"
    assert outcomes(server) == {"address": 1, "admitted": 1}

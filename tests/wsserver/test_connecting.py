"""The connecting hook: what it sees of a handshake, whom it lets in as what, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from dataclasses import dataclass

import pytest

from tests.conftest import now_ms
from wsserver import App, Clock, Context, ErrorCode, GuestMode
from wsserver.handshake.limits import ConnectionLimits
from wsserver.lifetime.connecting import MAX_WAITING
from wsserver.sdk.connecting import ConnectRequest

HANG_S = 20


@dataclass
class Player:
    seat: int = 0


def app_with(hook) -> App:
    app = App(state=Player)
    app.connecting(hook)

    @app.on("who")
    def who(ctx: Context[Player]) -> None:
        ctx.reply("you", [ctx.principal.user_id, ctx.state.seat])

    @app.on("late")
    async def late(ctx: Context[Player], n: int) -> None:
        ctx.reply("late", n)

    return app


async def test_it_sees_the_request_without_the_token_and_the_claims_of_it(
    start_server, open_raw, user_token, jwt_key, engine
):
    seen: list[ConnectRequest] = []

    async def look(request: ConnectRequest) -> None:
        await asyncio.sleep(0)
        seen.append(request)

    server = await start_server(app_with(look), engine=engine, jwt_key=jwt_key)
    token = user_token("ann", tenant="acme")
    headers = {"Cookie": 'a=1; b="two"; a=3', "X-Trace": "7"}
    client = await open_raw(server.url, token=f"{token}&lang=de&resume=secret", additional_headers=headers)
    assert client.greeting["data"]["userId"] == "ann"
    (request,) = seen
    assert request.principal is not None
    assert (request.principal.user_id, request.claims["tenant"]) == ("ann", "acme")
    assert request.cookies == {"a": "1", "b": "two"}
    assert (request.headers["x-trace"], dict(request.query)) == ("7", {"lang": "de"})
    assert (request.address, request.path) == ("127.0.0.1", "/socket.io/")
    assert token not in f"{request!r} {request.headers} {request.query}"


async def test_a_token_in_a_header_or_a_subprotocol_is_not_shown_either(start_server, open_raw, user_token, jwt_key):
    seen: list[ConnectRequest] = []
    server = await start_server(app_with(seen.append), jwt_key=jwt_key)
    token = user_token("ann")
    await open_raw(server.url, token=None, additional_headers={"Authorization": f"Bearer {token}"})
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    await open_raw(server.url, token=None, subprotocols=["wsctl.v1", f"token.{encoded}"])
    assert [request.principal and request.principal.user_id for request in seen] == ["ann", "ann"]
    for request in seen:
        assert token not in str(request.headers)
        assert encoded not in str(request.headers)
    assert "authorization" not in seen[0].headers
    assert seen[1].headers["sec-websocket-protocol"] == "wsctl.v1"


async def test_it_logs_a_client_without_a_token_in_by_its_cookie_and_sets_its_state(start_server, open_raw, engine):
    async def by_cookie(request: ConnectRequest[Player]) -> None:
        await asyncio.sleep(0)
        assert request.principal is None
        if request.cookies.get("login") != "ann-secret":
            request.refuse("Log in first.", code=ErrorCode.AUTH_REQUIRED)
        request.log_in("ann", valid_s=3600, scopes={"admin"}, session_id=request.query.get("sessionId"))
        request.state.seat = 7

    server = await start_server(app_with(by_cookie), engine=engine)
    client = await open_raw(server.url, token=None, session="table", additional_headers={"Cookie": "login=ann-secret"})
    assert client.greeting["data"]["sessionId"] == "table"
    assert (client.greeting["data"]["userId"], client.greeting["data"]["isGuest"]) == ("ann", False)
    await client.send("who")
    assert (await client.receive())["data"] == ["ann", 7]
    stranger = await open_raw(server.url, token=None, greet=False)
    (error,), code, reason = await stranger.received_until_closed()
    assert (error["data"]["code"], error["data"]["message"]) == ("AUTH_REQUIRED", "Log in first.")
    assert (code, reason) == (4001, "Log in first.")


async def test_without_a_token_and_without_a_login_it_is_refused_as_ever(start_server, open_raw):
    server = await start_server(app_with(lambda request: None))
    client = await open_raw(server.url, token=None, greet=False)
    (error,), code, _ = await client.received_until_closed()
    assert (error["data"]["code"], code) == ("AUTH_REQUIRED", 4001)


async def test_a_bad_token_a_strange_origin_and_a_full_server_never_reach_it(start_server, open_raw):
    seen: list[ConnectRequest] = []
    server = await start_server(app_with(seen.append), connections=ConnectionLimits(total=1))
    bad = await open_raw(server.url, token="guest_nonsense", greet=False)
    assert await bad.close_code() == 4001
    foreign = await open_raw(server.url, origin="https://evil.example", greet=False)
    assert await foreign.close_code() == 1008
    assert not seen
    await open_raw(server.url)
    full = await open_raw(server.url, greet=False)
    assert await full.close_code() == 1013
    assert len(seen) == 1


async def test_who_waits_for_it_counts_for_the_limits_and_no_more_once_refused(start_server, open_raw, engine):
    gate = asyncio.Event()
    arrived = asyncio.Event()

    async def wait(request: ConnectRequest) -> None:
        arrived.set()
        await gate.wait()
        if "no" in request.query:
            request.refuse()

    server = await start_server(app_with(wait), engine=engine, connections=ConnectionLimits(total=1))
    first = await open_raw(server.url, session="a&no=1", greet=False)
    await arrived.wait()
    second = await open_raw(server.url, greet=False)
    assert await second.close_code() == 1013
    gate.set()
    assert await first.close_code() == 1008
    third = await open_raw(server.url)
    assert third.greeting["type"] == "session_created"


@pytest.mark.parametrize(
    ("name", "code", "retryable", "close"),
    [
        ("forbidden", "FORBIDDEN", False, 1008),
        ("own", "NO_SEAT", True, 1013),
        ("final", "BANNED", False, 1008),
        ("chosen", "FORBIDDEN", False, 4321),
    ],
)
async def test_a_refusal_says_why_and_its_close_code_what_to_do(
    start_server, open_raw, engine, name, code, retryable, close
):
    app = App()
    no_seat = app.error("NO_SEAT", "No seat is left.", retryable=True)
    banned = app.error("BANNED", "You are banned.")

    @app.connecting
    def check(request: ConnectRequest) -> None:
        if name == "own":
            raise no_seat(details={"seats": 4})
        if name == "final":
            raise banned()
        request.refuse("Not today.", close_code=4321 if name == "chosen" else None)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url, greet=False)
    (error,), closed, _ = await client.received_until_closed()
    assert (error["data"]["code"], error["data"]["retryable"], closed) == (code, retryable, close)
    assert error["data"].get("details") == ({"seats": 4} if name == "own" else None)
    assert server.metrics.value("wsctl_connections_refused_total", disconnect="refused-by-app") == 1
    assert server.metrics.value("wsctl_errors_total", code=code) == 1
    assert server.metrics.value("wsctl_connections") == 0


class Boom(BaseException):
    pass


async def stalls(request: ConnectRequest) -> None:
    await asyncio.Event().wait()


def raises(error: BaseException):
    def hook(request: ConnectRequest) -> None:
        raise error

    return hook


@pytest.mark.parametrize(
    "hook",
    [
        raises(RuntimeError("kaputt")),
        raises(Boom()),
        raises(asyncio.CancelledError()),
        stalls,
        lambda request: request.refuse("x", code="NEVER_DECLARED"),
        lambda request: request.refuse("\ud800"),
        lambda request: request.refuse(close_code=1006),
        lambda request: request.log_in(""),
    ],
    ids=["raises", "base", "cancelled", "stalls", "code", "text", "close", "user"],
)
async def test_one_that_fails_or_takes_too_long_turns_the_client_away_for_now(
    start_server, open_raw, engine, caplog, hook
):
    server = await start_server(app_with(hook), engine=engine, handshake_timeout_ms=300)
    client = await open_raw(server.url, greet=False)
    with caplog.at_level(logging.ERROR, "wsctl"):
        assert await client.received_until_closed() == (
            [],
            1013,
            "The server could not decide about the connection; try again",
        )
    assert [record.message for record in caplog.records] == ["connecting.failed"]
    assert "kaputt" not in str(client.ws.close_reason)


async def test_what_arrives_meanwhile_waits_in_order_and_comes_behind_the_greeting(start_server, open_raw, engine):
    gate = asyncio.Event()

    async def wait(request: ConnectRequest) -> None:
        await gate.wait()

    server = await start_server(app_with(wait), engine=engine)
    client = await open_raw(server.url, greet=False)
    for number in range(200):  # more than may wait here: TCP has the rest
        await client.send("late", number)
    gate.set()
    assert (await client.receive())["type"] == "session_created"
    assert [(await client.receive())["data"] for _ in range(200)] == list(range(200))


async def test_too_much_behind_the_handshake_itself_ends_it(start_server, open_raw, engine):
    arrived = asyncio.Event()

    async def wait(request: ConnectRequest) -> None:
        arrived.set()
        await asyncio.Event().wait()

    server = await start_server(app_with(wait), engine=engine, connections=ConnectionLimits(total=1))
    port = int(server.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"GET /socket.io/ HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    text = json.dumps({"type": "who", "timestamp": now_ms()}).encode()
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
    writer.write(head.encode() + frame * (MAX_WAITING + 1))
    answer = await asyncio.wait_for(reader.read(), HANG_S)
    assert b"\x03\xf0Too much was sent before session_created" in answer
    writer.close()
    again = await open_raw(server.url, greet=False)
    await arrived.wait()  # there is room again
    again.ws.transport.abort()


async def test_a_client_that_leaves_meanwhile_cancels_it(start_server, open_raw, engine):
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: ConnectRequest) -> None:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await start_server(app_with(wait), engine=engine, connections=ConnectionLimits(total=1))
    client = await open_raw(server.url, greet=False)
    await arrived.wait()
    client.ws.transport.abort()
    await cancelled.wait()
    arrived.clear()
    again = await open_raw(server.url, greet=False)
    await arrived.wait()  # there is room again
    again.ws.transport.abort()


async def test_a_server_that_stops_sends_away_who_still_waits(start_server, open_raw, engine):
    async def wait(request: ConnectRequest) -> None:
        await asyncio.Event().wait()

    server = await start_server(app_with(wait), engine=engine)
    client = await open_raw(server.url, greet=False)
    await client.ws.ping()
    stopping = asyncio.create_task(server.stop())
    assert await client.close_code() == 1001
    await stopping


async def test_hooks_are_asked_in_order_and_one_may_replace_whom_the_token_names(
    start_server, open_raw, jwt_key, user_token
):
    order: list[str] = []
    app = App()

    @app.connecting
    async def first(request: ConnectRequest) -> None:
        order.append("first")
        assert request.principal is not None
        request.log_in(f"{request.claims['tenant']}.{request.principal.user_id}")

    @app.connecting
    def second(request: ConnectRequest) -> None:
        order.append(f"second sees {request.principal and request.principal.user_id}")

    server = await start_server(app, jwt_key=jwt_key, guests=GuestMode.OFF)
    client = await open_raw(server.url, token=user_token("ann", tenant="acme"))
    assert client.greeting["data"]["userId"] == "acme.ann"
    assert order == ["first", "second sees acme.ann"]


async def test_a_token_that_expires_while_it_decides_lets_nobody_in(
    start_server, open_raw, user_token, jwt_key, engine
):
    ahead_ms = 0

    async def takes_its_time(request: ConnectRequest) -> None:
        nonlocal ahead_ms
        ahead_ms = 60_000

    clock = Clock(now_ms=lambda: now_ms() + ahead_ms)
    server = await start_server(app_with(takes_its_time), engine=engine, jwt_key=jwt_key, clock=clock)
    server.hub.publish("note", "not for the expired", session="lobby")
    client = await open_raw(server.url, token=user_token(exp=now_ms() // 1000 + 30), session="lobby", greet=False)
    envelopes, code, _ = await client.received_until_closed()
    assert [(envelope["type"], envelope["data"]["code"]) for envelope in envelopes] == [("error", "AUTH_EXPIRED")]
    assert code == 4001
    assert server.metrics.value("wsctl_connections_opened_total") == 0

"""A backend decides over HTTP who may connect: what it is asked, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.conftest import now_ms
from tests.wsserver.webhooks.deciders import HANG_S, app_of, decider, outcomes
from wsserver import App, Clock, ErrorCode, GuestMode, Profile
from wsserver.sdk.connecting import ConnectRequest


@dataclass
class Player:
    seat: int = 0
    names: list[str] = field(default_factory=list)


@pytest.fixture
async def backend():
    async with decider() as backend:
        yield backend


async def test_it_is_asked_about_what_came_and_not_told_a_token(
    start_server, open_raw, backend, user_token, jwt_key, engine
):
    server = await start_server(engine=engine, jwt_key=jwt_key, connecting=backend.settings)
    token = user_token("ann", tenant="acme")
    headers = [("Cookie", 'a=1; b="two, three"'), ("Cookie", "c=\u00e4".encode().decode("latin-1")), ("X-Not", "told")]
    client = await open_raw(
        server.url,
        token=f"{token}&lang=de&resume=secret&sessionId=lobby",
        additional_headers=headers,
        origin=f"http://{server.url.split('/')[2]}",
        user_agent_header='Tester "1"',
        subprotocols=["wsctl.v1", "token.c2VjcmV0"],
    )
    assert client.greeting["data"]["userId"] == "ann"
    (asked,) = backend.asked
    claims = asked.pop("claims")
    assert (claims["sub"], claims["tenant"]) == ("ann", "acme")
    assert asked == {
        "server": "",
        "user": "ann",
        "address": "127.0.0.1",
        "path": "/socket.io/",
        "query": {"lang": "de", "sessionId": "lobby"},
        "subprotocols": ["wsctl.v1"],
        "cookie": 'a=1; b="two, three"; c=\u00e4',
        "origin": f"http://{server.url.split('/')[2]}",
        "userAgent": 'Tester "1"',
    }
    for secret in (token, "secret", "c2VjcmV0", "told"):
        assert secret not in backend.raw[0].decode()
    assert abs(int(backend.heads[0]["webhook-timestamp"]) - now_ms() / 1000) < HANG_S
    await open_raw(server.url)
    guest = backend.asked[1]
    assert (guest["isGuest"], guest["claims"], guest["query"]) == (True, {}, {})
    assert guest["user"].startswith("guest")
    assert len({head["webhook-id"] for head in backend.heads}) == 2
    assert outcomes(server) == {"admitted": 2}


async def test_it_is_told_the_address_that_a_trusted_proxy_names(start_server, open_raw, backend, engine):
    server = await start_server(engine=engine, connecting=backend.settings, trusted_proxies=("127.0.0.1",))
    await open_raw(server.url, additional_headers={"X-Forwarded-For": "192.0.2.7"})
    assert backend.asked[0]["address"] == "192.0.2.7"


async def test_it_logs_somebody_in_by_a_cookie_where_there_is_no_token_at_all(start_server, open_raw, backend, engine):
    backend.decide = lambda asked: (
        {
            "user": "ann",
            "validMs": 60_000,
            "session": "table",
            "scopes": ["admin"],
            "rooms": ["t.*"],
            "state": {"seat": 7},
        }
        if asked.get("cookie") == "login=5f0c"
        else {}
    )
    server = await start_server(
        app_of(Player), engine=engine, guests=GuestMode.OFF, profile=Profile.PROD, connecting=backend.settings
    )
    client = await open_raw(server.url, token=None, additional_headers={"Cookie": "login=5f0c"})
    assert client.greeting["data"].items() >= {"userId": "ann", "isGuest": False, "sessionId": "table"}.items()
    await client.send("who")
    assert (await client.receive())["data"] == ["ann", False, ["admin"], "Player(seat=7, names=[])"]
    for room, type in (("t.1", "room.joined"), ("other", "error")):
        await client.send("room.join", {"room": room})
        assert (await client.receive())["type"] == type
    (connection,) = server.connections.by_user("ann")
    assert 0 < connection.principal.expires_at_ms - now_ms() <= 60_000
    stranger = await open_raw(server.url, token=None, greet=False)
    (error,), code, _ = await stranger.received_until_closed()
    assert (error["data"]["code"], code) == ("AUTH_REQUIRED", 4001)


async def test_a_state_that_does_not_fit_the_class_of_the_app_lets_nobody_in(start_server, open_raw, backend):
    backend.decide = lambda asked: {"user": "ann", "state": {"seat": "seven"}}
    server = await start_server(app_of(Player), connecting=backend.settings)
    assert await (await open_raw(server.url, greet=False)).close_code() == 1013
    assert outcomes(server) == {"bad-answer": 1}


async def test_a_backend_may_have_an_address_of_ipv6(start_server, open_raw):
    async with decider(host="::1") as backend:
        server = await start_server(connecting=backend.settings)
        await open_raw(server.url)
        assert backend.heads[0]["host"] == backend.url.split("/")[2]


async def test_it_adds_to_what_the_token_says_where_it_names_no_user(
    start_server, open_raw, backend, user_token, jwt_key
):
    backend.decide = lambda asked: {"rooms": [{"pattern": "news", "publish": False}], "state": {"seat": 1, "b": None}}
    server = await start_server(app_of(), jwt_key=jwt_key, connecting=backend.settings)
    client = await open_raw(server.url, token=user_token("ann", scope="admin", sid="s"))
    await client.send("who")
    assert (await client.receive())["data"] == ["ann", False, ["admin"], "namespace(seat=1, b=None)"]
    assert client.greeting["data"]["sessionId"] == "s"
    await client.send("room.join", {"room": "news"})
    assert (await client.receive())["type"] == "room.joined"


RAW = "a\r\nb\x1b[31m\u202e\u2066c\u200b \U0001f600"
SHOWN = "a\\r\\nb\\x1b[31m\\u202e\\u2066c\\u200b \U0001f600"


@pytest.mark.parametrize(
    ("refuse", "said", "close"),
    [
        ({}, ("FORBIDDEN", "The principal is known but may not do this.", False), 1008),
        ({"message": "Not today."}, ("FORBIDDEN", "Not today.", False), 1008),
        ({"code": "AUTH_REQUIRED", "message": "Log in."}, ("AUTH_REQUIRED", "Log in.", False), 4001),
        ({"code": "RATE_LIMITED"}, ("RATE_LIMITED", None, True), 1013),
        ({"code": "BANNED"}, ("BANNED", "You are banned.", False), 1008),
        ({"code": "NO_SEAT", "message": "Full."}, ("NO_SEAT", "Full.", True), 1013),
        ({"closeCode": 4321, "message": "x"}, ("FORBIDDEN", "x", False), 4321),
        ({"message": RAW}, ("FORBIDDEN", SHOWN, False), 1008),
        ({"message": "\u00e4" * 60_00}, ("FORBIDDEN", "\u00e4" * 500, False), 1008),
    ],
)  # fmt: skip
async def test_a_refusal_says_why_and_its_close_code_what_to_do(
    start_server, open_raw, backend, engine, refuse, said, close
):
    app = App()
    app.error("BANNED", "You are banned.")
    app.error("NO_SEAT", "No seat is left.", retryable=True)
    hook_called = []
    app.connecting(hook_called.append)
    backend.decide = lambda asked: {"refuse": refuse}
    server = await start_server(app, engine=engine, connecting=backend.settings)
    client = await open_raw(server.url, greet=False)
    (error,), code, reason = await client.received_until_closed()
    expected_code, message, retryable = said
    assert (error["data"]["code"], error["data"]["retryable"], code) == (expected_code, retryable, close)
    if message is not None:
        assert error["data"]["message"] == message
        assert reason == message.encode()[:123].decode(errors="ignore")
    assert outcomes(server) == {"refused": 1}
    assert server.metrics.value("wsctl_connections") == 0
    assert not hook_called


async def test_the_hooks_of_an_app_come_behind_it_and_see_what_it_decided(start_server, open_raw, backend):
    app = app_of(Player)
    seen: list[tuple] = []

    @app.connecting
    async def look(request: ConnectRequest[Player]) -> None:
        seen.append((request.principal and request.principal.user_id, request.state.seat))
        request.state.seat += 1
        if request.principal is None:
            request.refuse("nobody", code=ErrorCode.AUTH_REQUIRED)

    backend.decide = lambda asked: {"user": "ann", "state": {"seat": 3}}
    server = await start_server(app, connecting=backend.settings)
    client = await open_raw(server.url, token=None)
    await client.send("who")
    assert (await client.receive())["data"][3] == "Player(seat=4, names=[])"
    assert seen == [("ann", 3)]


async def test_a_claim_that_json_cannot_hold_lets_nobody_in(start_server, open_raw, backend, user_token, jwt_key):
    server = await start_server(jwt_key=jwt_key, connecting=backend.settings)
    client = await open_raw(server.url, token=user_token("ann", note="\ud800"), greet=False)
    assert (await client.received_until_closed())[1] == 1013
    assert outcomes(server) == {"unaskable": 1}


async def test_a_bad_token_a_strange_origin_and_a_full_server_never_reach_it(start_server, open_raw, backend):
    server = await start_server(connecting=backend.settings)
    assert await (await open_raw(server.url, token="guest_nonsense", greet=False)).close_code() == 4001
    assert await (await open_raw(server.url, origin="https://evil.example", greet=False)).close_code() == 1008
    assert not backend.asked


async def test_a_token_that_expires_while_it_decides_lets_nobody_in(
    start_server, open_raw, backend, user_token, jwt_key
):
    ahead_ms = 0

    def decide(asked):
        nonlocal ahead_ms
        ahead_ms = 60_000
        return {"scopes": ["admin"]}

    backend.decide = decide
    clock = Clock(now_ms=lambda: now_ms() + ahead_ms)
    server = await start_server(jwt_key=jwt_key, connecting=backend.settings, clock=clock)
    client = await open_raw(server.url, token=user_token(exp=now_ms() // 1000 + 30), greet=False)
    (error,), code, _ = await client.received_until_closed()
    assert (error["data"]["code"], code) == ("AUTH_EXPIRED", 4001)
    assert server.metrics.value("wsctl_connections_opened_total") == 0

"""A server that trusts its proxy: limits, log and origins go by the client, and the dev profile warns."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from wscore.guest import GuestMode
from wsserver.connections.sessions import SessionJoin
from wsserver.handshake.limits import ConnectionLimits
from wsserver.settings import Profile

HANG_S = 20
TRUSTED = ("127.0.0.1",)


def from_client(ip: str, **headers: str) -> dict[str, str]:
    return {"X-Forwarded-For": ip} | {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def events(caplog):
    """Return the fields of every event of a name so far."""
    caplog.set_level("INFO", "wsctl")
    return lambda name: [record.fields for record in caplog.records if record.getMessage() == name]


async def test_the_limit_per_address_and_the_log_go_by_the_client(start_server, open_raw, engine, events):
    server = await start_server(engine=engine, trusted_proxies=TRUSTED, connections=ConnectionLimits(per_ip=1))
    first = await open_raw(server.url, additional_headers=from_client("203.0.113.9, 192.0.2.1"))
    await open_raw(server.url, additional_headers=from_client("192.0.2.2"))
    second = await open_raw(server.url, additional_headers=from_client("192.0.2.1"), greet=False)
    assert await second.close_code() == 1013
    opened = [(event["peer"], event["via"]) for event in events("connection.opened")]
    assert opened == [("192.0.2.1", "127.0.0.1"), ("192.0.2.2", "127.0.0.1")]
    (refused,) = events("connection.refused")
    assert (refused["peer"], refused["via"], refused["rule"]) == ("192.0.2.1", "127.0.0.1", "limit")
    await first.ws.close()
    async with asyncio.timeout(HANG_S):
        while len(server.connections) > 1:
            await asyncio.sleep(0)
    await open_raw(server.url, additional_headers=from_client("192.0.2.1"))


async def test_plain_http_is_logged_by_the_client_too(start_server, engine, events):
    server = await start_server(engine=engine, trusted_proxies=TRUSTED)
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /other HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    assert b" 404 " in await asyncio.wait_for(reader.readline(), HANG_S)
    writer.close()
    (refused,) = events("request.refused")
    assert (refused["peer"], refused["via"]) == ("192.0.2.1", "127.0.0.1")


async def test_one_ipv6_network_is_one_client(start_server, open_raw, engine):
    server = await start_server(engine=engine, trusted_proxies=TRUSTED, connections=ConnectionLimits(per_ip=1))
    await open_raw(server.url, additional_headers=from_client("2001:db8::1"))
    neighbour = await open_raw(server.url, additional_headers=from_client("2001:db8::2"), greet=False)
    assert await neighbour.close_code() == 1013
    await open_raw(server.url, additional_headers=from_client("2001:db8:0:1::1"))


async def test_who_is_no_proxy_is_counted_by_its_own_address(start_server, open_raw, engine, events):
    server = await start_server(engine=engine, connections=ConnectionLimits(per_ip=1))
    await open_raw(server.url, additional_headers=from_client("192.0.2.1"))
    second = await open_raw(server.url, additional_headers=from_client("192.0.2.2"), greet=False)
    assert await second.close_code() == 1013
    (opened,) = events("connection.opened")
    assert opened["peer"] == "127.0.0.1"
    assert "via" not in opened


async def test_the_echo_counts_by_the_client_too(start_server, open_raw, engine, events):
    limits = ConnectionLimits(per_ip=1)
    server = await start_server(engine=engine, trusted_proxies=TRUSTED, connections=limits, echo_path="/echo")
    url = server.url.replace("/socket.io/", "/echo")
    first = await open_raw(url, additional_headers=from_client("192.0.2.1"), greet=False)
    second = await open_raw(url, additional_headers=from_client("192.0.2.1"), greet=False)
    assert await second.close_code() == 1013
    await open_raw(server.url, additional_headers=from_client("192.0.2.2"))
    (refused,) = events("echo.refused")
    assert (refused["peer"], refused["code"]) == ("192.0.2.1", 1013)
    await first.ws.close()
    async with asyncio.timeout(HANG_S):
        while not any(event["code"] == 1000 for event in events("echo.closed")):
            await asyncio.sleep(0)
    await open_raw(server.url, additional_headers=from_client("192.0.2.1"))


async def test_a_unix_socket_is_a_proxy_only_where_that_is_said(start_server, open_raw, tmp_path, events):
    from websockets.asyncio.client import unix_connect

    for number, trusted in enumerate([(), ("unix",)]):
        path = str(tmp_path / str(number))
        await start_server(uds=path, trusted_proxies=trusted, forwarded_host=bool(trusted))
        headers = from_client("192.0.2.1", X_Forwarded_Host="app.example")
        async with unix_connect(
            path, "ws://inner/socket.io/", additional_headers=headers, origin="https://app.example"
        ) as ws:
            await ws.recv()
    shown = [(event["peer"], event.get("via"), event["rule"]) for event in events("connection.refused")]
    assert shown == [("unix", None, "origin"), ("192.0.2.1", "unix", "token-missing")]


async def test_the_forwarded_host_is_the_own_one_and_must_be_allowed(start_server, open_raw, engine, events):
    server = await start_server(
        engine=engine, trusted_proxies=TRUSTED, forwarded_host=True, allowed_hosts=("app.example",)
    )
    page = {"origin": "https://app.example"}
    headers = from_client("192.0.2.1", X_Forwarded_Host="app.example", X_Forwarded_Proto="https")
    assert (await open_raw(server.url, additional_headers=headers, **page)).greeting["type"] == "session_created"
    plain = await open_raw(server.url, additional_headers=headers, origin="http://app.example", greet=False)
    assert await plain.close_code() == 1008
    rebound = from_client("192.0.2.1", X_Forwarded_Host="evil.example")
    other = await open_raw(server.url, additional_headers=rebound, origin="https://evil.example", greet=False)
    assert await other.close_code() == 1008
    assert [event["rule"] for event in events("connection.refused")] == ["origin", "host"]


async def test_a_refused_origin_is_logged_with_the_option_that_would_let_it_in(start_server, open_raw, engine, events):
    server = await start_server(engine=engine, profile=Profile.PROD, guests=GuestMode.UNSIGNED)
    for origin in ("https://App.example:443", "https://$(reboot)", "null", "x" * 3000):
        refused = await open_raw(server.url, origin=origin, greet=False)
        assert await refused.close_code() == 1008
    named, odd, null, long = events("connection.refused")
    assert (named["origin"], named["mend"]) == ("https://App.example:443", "--origin https://app.example")
    assert null["mend"] == "--origin null"
    assert odd["origin"] == "https://$(reboot)"
    assert len(long["origin"]) == 200
    assert not [item for item in (odd, long) if "mend" in item]


async def test_the_dev_profile_warns_once_when_a_proxy_passes_requests_on(start_server, open_raw, engine, events):
    server = await start_server(engine=engine)
    await open_raw(server.url)
    assert events("server.exposed") == []
    for _ in range(2):
        await open_raw(server.url, additional_headers=from_client("192.0.2.1"))
    (warning,) = events("server.exposed")
    assert warning == {
        "profile": "dev",
        "reason": "a proxy passes requests on (x-forwarded-for)",
        "open": "anybody connects as a guest, anybody joins any session",
        "mend": "--profile prod",
    }


async def test_the_dev_profile_warns_at_the_start_about_a_key_and_a_public_origin(start_server, jwt_key, events):
    await start_server(origins=["http://localhost:5173", "http://[::1]", "http://127.0.0.1", "null"])
    assert events("server.exposed") == []
    await start_server(jwt_key=jwt_key)
    await start_server(origins=["http://localhost:5173", "https://app.example"])
    await start_server(origins=["*"], session_join=SessionJoin.TOKEN)
    shown = [(event["reason"], event["open"]) for event in events("server.exposed")]
    both = "anybody connects as a guest, anybody joins any session"
    assert shown == [
        ("a key for tokens is set", both),
        ("pages of https://app.example may connect", both),
        ("pages of * may connect", "anybody connects as a guest"),
    ]


async def test_nothing_is_said_where_nothing_is_open(start_server, open_raw, user_token, jwt_key, events):
    strict = {"guests": GuestMode.OFF, "session_join": SessionJoin.TOKEN, "jwt_key": jwt_key}
    for settings in ({"profile": Profile.PROD, "jwt_key": jwt_key}, strict):
        server = await start_server(origins=["https://app.example"], **settings)
        await open_raw(server.url, token=user_token(), additional_headers=from_client("192.0.2.1"))
    assert events("server.exposed") == []

"""Every end that the server brings about is named in its log, with the close frame and the error that the wire has."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from tests.wsserver.conftest import HANG_S
from wscore.ratelimit import Rate
from wsserver import App, Context
from wsserver.connections.ratelimits import RatePolicy
from wsserver.handshake.limits import ConnectionLimits

MASK = bytes(4)  # a client's frame must be masked: this one leaves it as it is


@pytest.fixture
def events(caplog):
    """Return the fields of every event of a name so far."""
    caplog.set_level("INFO", "wsctl")
    return lambda name: [record.fields for record in caplog.records if record.getMessage() == name]


def named(fields):
    return fields["code"], fields["disconnect"], fields["reason"]


async def codes_of_errors_and_end(client):
    envelopes, code, reason = await client.received_until_closed()
    return [envelope["data"]["code"] for envelope in envelopes if envelope["type"] == "error"], code, reason


@pytest.mark.parametrize(
    ("how", "error", "end"),
    [
        ({"origin": "https://evil.example"}, "FORBIDDEN", (1008, "origin-refused", "This origin may not connect.")),
        (
            {"host": "127.0.0.1"},
            "FORBIDDEN",
            (1008, "host-refused", "This host name is not served here."),
        ),
        ({"token": None}, "AUTH_REQUIRED", (4001, "token-missing", "The connection carries no token.")),
        (
            {"token": "guest_nonsense"},
            "AUTH_INVALID",
            (4001, "token-refused", "The guest token is not guest_{uuid4}_{timestamp ms}."),
        ),
        ({"token": "OLD"}, "AUTH_EXPIRED", (4001, "token-expired", "The token has expired.")),
        (
            {"session": "no/name"},
            "SESSION_CREATE_FAILED",
            (4001, "session-refused", "A session id is 1 to 128 of A-Z a-z 0-9 _ . : -"),
        ),
        ({}, None, (1013, "server-full", "Too many connections in all.")),
    ],
)
async def test_a_refusal_is_named(start_server, open_raw, engine, events, user_token, jwt_key, how, error, end):
    limits = ConnectionLimits(total=None if how else 0)
    server = await start_server(engine=engine, connections=limits, jwt_key=jwt_key)
    if how.get("token") == "OLD":
        how = {"token": user_token(exp=int(time.time()) - 60)}
    url = server.url.replace("127.0.0.1", "evil.example") if "host" in how else server.url
    client = await open_raw(url, greet=False, **how)
    errors, code, reason = await codes_of_errors_and_end(client)
    (refused,) = events("connection.refused")
    assert named(refused) == (code, end[1], reason) == end
    assert errors == ([error] if error else [])


def app_that_closes() -> App:
    app = App()

    @app.on("bye")
    def bye(ctx: Context, data: list) -> None:
        ctx.close(*data)

    @app.on("kick")
    def kick(ctx: Context) -> None:
        ctx.hub.close(ctx.connection_id)

    return app


async def expire(client, server) -> None:
    (connection,) = server.connections.all()
    connection.principal = replace(connection.principal, expires_at_ms=0)
    server._controller._expiry.watch(connection)


async def be_silent(client, server) -> None:
    server._heartbeats._reap(*server.connections.all())


async def be_slow(client, server) -> None:
    server._controller.slow(*server.connections.all())


async def flood(client, server) -> None:
    for _ in range(8):
        await client.send("pong")


async def break_the_server(client, server) -> None:
    server._controller._deserialize = None
    await client.send("ping")


ENDS = {
    "binary": (lambda c, s: c.ws.send(b"x"), (1003, "binary-message", "Binary messages are not accepted")),
    "no UTF-8": (lambda c, s: c.ws.send(b"\xff", text=True), (1007, "invalid-utf8", "text is not UTF-8")),
    "too big": (lambda c, s: c.ws.send("x" * 2049), (1009, "message-too-big", None)),
    "too big in pieces": (lambda c, s: c.ws.send(["x" * 2000, "x" * 2000]), (1009, "message-too-big", None)),
    "silent": (be_silent, (4002, "heartbeat-timeout", "Connection timeout")),
    "slow": (be_slow, (4003, "slow-consumer", "Outbound limit passed")),
    "expired": (expire, (4001, "token-expired", "Token expired")),
    "flood": (flood, (1008, "rate-limit", "Rate limit exceeded")),
    "kicked": (lambda c, s: c.send("kick"), (4004, "kicked", "")),
    "app": (lambda c, s: c.send("bye", [4321, "enough"]), (4321, "closed-by-app", "enough")),
    "shutdown": (lambda c, s: s.stop(), (1001, "shutdown", "Server shutting down")),
    "fault": (break_the_server, (1011, "internal-error", "Internal error")),
}


@pytest.mark.parametrize(("act", "end"), ENDS.values(), ids=ENDS)
async def test_an_end_is_named(start_server, open_raw, engine, events, act, end):
    rates = RatePolicy(messages=Rate(1, 4), max_refused=2)
    server = await start_server(app_that_closes(), engine=engine, max_message_bytes=2048, rates=rates)
    client = await open_raw(server.url)
    acting = asyncio.ensure_future(act(client, server))
    _, code, reason = await codes_of_errors_and_end(client)
    await asyncio.wait_for(asyncio.gather(acting, server.connections.wait_empty()), HANG_S)
    (closed,) = events("connection.closed")
    assert (closed["by"], *named(closed)) == ("server", code, end[1], reason)
    assert (code, reason) == (end[0], reason if end[2] is None else end[2])


async def test_a_frame_that_the_library_itself_refuses_is_named(start_server, open_raw, engine, events):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    client.ws.transport.write(b"\x83\x80" + MASK)  # opcode 3 is none
    _, code, reason = await asyncio.wait_for(codes_of_errors_and_end(client), HANG_S)
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    (closed,) = events("connection.closed")
    assert (closed["by"], *named(closed)) == ("server", 1002, "protocol-error", reason)
    assert code == 1002


async def test_an_end_that_the_client_brings_about_has_no_name(start_server, open_raw, engine, events):
    server = await start_server(engine=engine)
    client, lost = await open_raw(server.url), await open_raw(server.url)
    await client.ws.close(4321, "enough")
    lost.ws.transport.abort()
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    ends = {(event["code"], event["by"], event["reason"]): event for event in events("connection.closed")}
    assert set(ends) == {(4321, "peer", "enough"), (1006, "peer", "")}
    assert not any("disconnect" in end for end in ends.values())


async def test_an_echo_connection_ends_by_name_too(start_server, open_raw, engine, events):
    server = await start_server(engine=engine, echo_path="/echo", max_message_bytes=2048)
    client = await open_raw(server.url.replace(server.settings.path, "/echo"), greet=False)
    await client.ws.send(["x" * 2000, "x" * 2000])
    assert await client.close_code() == 1009
    await asyncio.wait_for(server._echo.wait_empty(), HANG_S)
    (closed,) = events("echo.closed")
    assert (closed["by"], closed["disconnect"]) == ("server", "message-too-big")

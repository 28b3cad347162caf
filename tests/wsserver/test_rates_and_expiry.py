"""Rate limits, and what happens when a token expires while connected."""

from __future__ import annotations

import asyncio
import time
import uuid
from types import SimpleNamespace

import pytest

from wscore.guest import mint_guest_token
from wscore.heartbeat import HeartbeatPolicy
from wscore.ratelimit import Rate
from wsserver.connections.ratelimits import RateLimiter, RatePolicy, Refusal
from wsserver.telemetry.clock import Clock

HANG_S = 20
HOUR_S = 3600


async def test_too_many_messages_are_dropped_with_rate_limited_then_closed_with_1008(start_server, open_raw, engine):
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(1, 5), max_refused=20))
    client, neighbour = await open_raw(server.url), await open_raw(server.url)
    for n in range(30):
        await client.send("message", n)
    envelopes, code, _ = await client.received_until_closed()
    assert [envelope["data"] for envelope in envelopes if envelope["type"] == "message"] == list(range(5))
    errors = [envelope["data"] for envelope in envelopes if envelope["type"] == "error"]
    assert [(error["code"], error["retryable"]) for error in errors] == [("RATE_LIMITED", True)]
    assert code == 1008
    await neighbour.send("ping")
    assert (await neighbour.receive())["type"] == "pong"


async def test_each_refused_message_that_has_an_id_is_answered_with_it_and_with_when_to_come_again(
    start_server, open_raw, engine
):
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(0.5, 3), max_refused=6))
    client = await open_raw(server.url)
    for n in range(6):
        await client.send("message", n, id=f"m{n}")
        await client.send("message", n)
    for _ in range(10):
        await client.send("message")
    envelopes, code, _ = await client.received_until_closed()
    errors = [envelope for envelope in envelopes if envelope["type"] == "error"]
    # Three pass, m0 and 0 and m1; of those without an id one is told, and after the sixth refused one nothing is.
    assert [error.get("id") for error in errors] == [None, "m2", "m3", "m4"]
    assert {error["data"]["code"] for error in errors} == {"RATE_LIMITED"}
    assert all(error["data"]["retryable"] and 0 < error["data"]["details"]["retryAfterMs"] <= 2000 for error in errors)
    assert code == 1008


async def test_the_greeting_names_the_rates_where_there_are_any(start_server, open_raw):
    limited = await start_server(rates=RatePolicy(messages=Rate(100, 200), octets=Rate(1 << 20, 2 << 20)))
    greeting = (await open_raw(limited.url)).greeting["data"]
    assert greeting["limits"]["messages"] == {"perSecond": 100, "burst": 200}
    assert greeting["limits"]["bytes"] == {"perSecond": 1 << 20, "burst": 2 << 20}
    free = await start_server()
    assert (await open_raw(free.url)).greeting["data"]["limits"] == {"maxMessageBytes": 1 << 20}


async def test_a_message_larger_than_the_burst_is_not_told_to_come_again(start_server, open_raw):
    server = await start_server(rates=RatePolicy(octets=Rate(1, 1000)))
    client = await open_raw(server.url)
    await client.send("message", "x" * 2000, id="big")
    error = await client.receive()
    assert (error["id"], error["data"].get("details")) == ("big", None)


async def test_too_many_bytes_are_limited_too(start_server, open_raw):
    server = await start_server(rates=RatePolicy(octets=Rate(1, 1000)))
    client = await open_raw(server.url)
    await client.send("message", "x" * 2000)
    assert (await client.receive())["data"]["code"] == "RATE_LIMITED"
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"


async def test_a_flood_of_control_frames_is_limited_as_well(start_server, open_raw, engine):
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(1, 5), max_refused=20))
    client = await open_raw(server.url)
    for n in range(40):
        await client.ws.ping(str(n))
    assert await client.close_code() == 1008


def test_a_limited_connection_is_told_once_a_second_and_forgiven_after_a_quiet_one():
    limiter = RateLimiter(RatePolicy(messages=Rate(1, 1), max_refused=3), 0.0)
    assert limiter.admits(1, 0.0)
    refused_at = (0.1, 0.2, 0.3, 0.4)
    assert not any(limiter.admits(1, at) for at in refused_at)
    assert [limiter.refuse(at) for at in refused_at] == [Refusal.WARN, Refusal.DROP, Refusal.DROP, Refusal.CLOSE]
    patient = RateLimiter(RatePolicy(messages=Rate(0.1, 1), max_refused=3), 0.0)
    assert [patient.refuse(at) for at in (1.1, 2.2, 3.3, 4.4, 5.5)] == [Refusal.WARN] * 5


@pytest.fixture
def clock():
    """A wall clock that a test can turn, beside the real monotonic one."""
    state = SimpleNamespace(skew_ms=0)
    state.clock = Clock(now_ms=lambda: time.time_ns() // 1_000_000 + state.skew_ms)
    return state


async def test_auth_expired_is_announced_30_s_ahead_and_enforced_with_4001(
    start_server, open_raw, user_token, jwt_key, engine, clock
):
    server = await start_server(engine=engine, clock=clock.clock, jwt_key=jwt_key)
    # The token has 200 ms left on the server's clock: the warning comes at once, the end soon after.
    expires_s = int(time.time()) + HOUR_S
    clock.skew_ms = expires_s * 1000 - 200 - time.time_ns() // 1_000_000
    client = await open_raw(server.url, token=user_token(exp=expires_s))
    envelopes, code, _ = await client.received_until_closed()
    assert [envelope["data"]["code"] for envelope in envelopes] == ["AUTH_EXPIRED", "AUTH_EXPIRED"]
    assert code == 4001


async def test_a_fresh_token_of_the_same_user_replaces_the_expiry(
    start_server, open_raw, user_token, jwt_key, engine, clock
):
    server = await start_server(engine=engine, clock=clock.clock, jwt_key=jwt_key)
    expires_s = int(time.time()) + HOUR_S
    clock.skew_ms = expires_s * 1000 - 300 - time.time_ns() // 1_000_000
    client = await open_raw(server.url, token=user_token(exp=expires_s))
    assert (await client.receive())["data"]["code"] == "AUTH_EXPIRED"
    await client.send("auth_refresh", {"token": user_token("mallory", exp=expires_s + HOUR_S)}, id="1")
    assert (await client.receive())["data"]["code"] == "FORBIDDEN"
    await client.send("auth_refresh", {"token": "nonsense"}, id="2")
    assert (await client.receive())["data"]["code"] == "AUTH_INVALID"
    await client.send("auth_refresh", {"token": 5}, id="3")
    assert "`$.data.token`" in (await client.receive())["data"]["message"]
    await client.send("auth_refresh", {"token": user_token(exp=expires_s + HOUR_S)}, id="4")
    answer = await client.receive()
    assert (answer["type"], answer["id"]) == ("auth_refreshed", "4")
    assert answer["data"] == {"expiresAtMs": (expires_s + HOUR_S) * 1000}
    (connection,) = server.connections.all()
    assert connection.principal.expires_at_ms == (expires_s + HOUR_S) * 1000


async def test_who_expires_while_the_wall_clock_leaps_does_not_stay(
    start_server, open_raw, user_token, jwt_key, engine, clock
):
    heartbeat = HeartbeatPolicy(1000, 60_000)  # whose hundredth is how often the clock is looked at
    server = await start_server(engine=engine, clock=clock.clock, jwt_key=jwt_key, heartbeat=heartbeat)
    client = await open_raw(server.url, token=user_token())
    neighbour = await open_raw(server.url, token=user_token(exp=int(time.time()) + 9 * HOUR_S))
    clock.skew_ms = 2 * HOUR_S * 1000
    envelopes, code, _ = await asyncio.wait_for(client.received_until_closed(), HANG_S)
    assert [envelope["data"]["code"] for envelope in envelopes if envelope["type"] == "error"] == [
        "AUTH_EXPIRED",
        "AUTH_EXPIRED",
    ]
    assert code == 4001
    clock.skew_ms = -2 * HOUR_S * 1000
    assert await neighbour.receive_type("ping")
    assert len(server.connections) == 1


async def test_a_guest_expires_too(start_server, open_raw, clock):
    server = await start_server(clock=clock.clock, guest_ttl_ms=60_000)
    now_ms = time.time_ns() // 1_000_000
    clock.skew_ms = 59_900
    client = await open_raw(server.url, token=mint_guest_token(uuid.uuid4(), now_ms))
    assert await client.close_code() == 4001

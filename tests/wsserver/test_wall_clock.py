"""The wall clock of a machine jumps by an hour, either way and back: what is timed by another one does not notice."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import SECRET, now_ms
from wscore.tokens import JwtKey
from wsserver import Revocation
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.clock import Clock
from wsserver.testing.clock import MovableClock

HANG_S = 20
HOUR_S = 3600


class JumpingClock:
    """The time of the event loop, which a test moves, and a wall clock that it sets besides."""

    def __init__(self, moved: MovableClock) -> None:
        self.advance = moved.advance
        self.jumped_s = 0
        self.clock = Clock(lambda: moved.clock.now_ms() + self.jumped_s * 1000, moved.clock.now_s)


@pytest.fixture
async def jumping():
    moved = MovableClock()
    yield JumpingClock(moved)
    moved.restore()


@pytest.fixture(params=["memory", "redis"])
def start(request, start_server, jumping, engine):
    """Start a server whose clock jumps, alone or with a Redis."""

    async def start(**settings):
        if request.param == "redis":
            settings |= {"broker": read_target(request.getfixturevalue("redis").url), "broker_prefix": "t:"}
        return await start_server(engine=engine, clock=jumping.clock, jwt_key=JwtKey(secret=SECRET), **settings)

    return start


@pytest.mark.parametrize("jumps", [(HOUR_S,), (-HOUR_S,), (HOUR_S, 0), (-HOUR_S, 0)], ids=str)
async def test_what_is_kept_and_who_is_there_do_not_age_by_a_jump(start, open_raw, user_token, jumping, jumps):
    server = await start()
    token = user_token("gone", exp=now_ms() // 1000 + 9 * HOUR_S)
    watcher = await open_raw(server.url, token=user_token("watcher", exp=now_ms() // 1000 + 9 * HOUR_S), session="s")
    await watcher.send("room.join", {"room": "hall", "presence": True})
    await watcher.receive_type("room.joined")
    gone = await open_raw(server.url, token=token, session="s")
    await gone.send("room.join", {"room": "hall"})
    assert (await watcher.receive_type("presence"))["data"]["joined"] == ["gone"]
    recovery = gone.greeting["data"]["recovery"]
    gone.ws.transport.abort()
    await server.hub.published("note", 1, session="s")
    for jump in jumps:
        jumping.jumped_s = jump
        await jumping.advance(1)  # everything that looks at a clock does
    resume = {"epoch": recovery["epoch"], "seq": recovery["seq"], "resume": recovery["resumeToken"]}
    back = await open_raw(server.url, token=token, session="s", resume=resume)
    assert back.greeting["data"]["recovery"]["recovered"] is True
    assert (await back.receive_type("note"))["data"] == 1
    await back.send("room.join", {"room": "hall"})
    await back.receive_type("room.joined")
    await jumping.advance(7)
    await watcher.send("ping", id="p")
    told = []
    while (envelope := await watcher.receive()).get("id") != "p":
        told.append(envelope["type"])
    assert "presence" not in told, "it came back within 5 s, whatever the clock on the wall said"
    assert set(await server.hub.members("hall")) == {"gone", "watcher"}


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_what_was_revoked_stays_so_when_the_clock_comes_back(start, open_raw, user_token, jumping, jump_s):
    server = await start()
    expires_s = now_ms() // 1000 + HOUR_S // 2
    token = user_token("alice", jti="stolen", exp=expires_s)
    await server.hub.revoke(Revocation(jti="stolen", expires_at_ms=expires_s * 1000))
    for jumped_s in (jump_s, 0):
        jumping.jumped_s = jumped_s
        await jumping.advance(5)
    refused = await open_raw(server.url, token=token, greet=False)
    envelopes, code, _ = await refused.received_until_closed()
    assert (envelopes[-1]["data"]["code"], code) == ("AUTH_INVALID", 4001)
    await jumping.advance(HOUR_S // 2 + 120)
    async with asyncio.timeout(HANG_S):
        while server.metrics.value("wsctl_revocations"):  # it is forgotten once both clocks say so, and Redis answers
            await jumping.advance(1)
            await asyncio.sleep(0.01)

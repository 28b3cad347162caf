"""The clock of Redis itself jumps by an hour, either way and back, while it runs: nothing ends early without a word.

What is kept in Redis for a while ends by its clock: the keys of groups, and with them history, who may resume, and
which calls of which producers are stored already. The rest has to go by other clocks.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conftest import SECRET, now_ms
from tests.wsserver.brokers.faultworld import LOG, META, PREFIX
from tests.wsserver.brokers.jumpingredis import PACKAGE, JumpingRedis
from tests.wsserver.conftest import HANG_S
from wscore.tokens import JwtKey
from wsserver import Revocation
from wsserver.brokers.redisgroups import RESYNC_S
from wsserver.brokers.redisscripts import FORGOTTEN_S, MANY, PUBLISH
from wsserver.brokers.redistarget import read_target

HOUR_S = 3600
FORTH_AND_BACK = [(HOUR_S, 0), (-HOUR_S, 0)]
JUMPS = [(HOUR_S,), (-HOUR_S,), *FORTH_AND_BACK]
LIVES_S = 260  # of a group's keys, with the window's usual age
NOTE = b"\x01\x00\x00\x00\x00\x02hi"


@pytest.fixture
def jumping(start_redis, tmp_path):
    return JumpingRedis(start_redis, tmp_path)


@pytest.fixture
def redis(jumping):
    return jumping.server


async def pass_time(movable_clock, seconds) -> None:
    """Have time pass for servers, and let Redis answer meanwhile."""
    for _ in range(int(seconds)):
        await movable_clock.advance(1)
        await asyncio.sleep(0.01)


def goes_ahead(jumps) -> bool:
    """Whether the clock is set ahead at all: by an hour all that groups have expires."""
    return any(now > before for before, now in zip((0, *jumps), jumps, strict=False))


def test_ci_installs_redis_and_what_sets_its_clock():
    script = (Path(__file__).parents[3] / ".ci/run").read_text("utf-8")
    for package in ("redis-server", PACKAGE):
        assert f"packages+=({package})" in script


@pytest.mark.chaos
@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_nobody_misses_or_hears_anything_twice_without_a_word(start_world, redis, jumping, jumps):
    world = await start_world(redis)
    for jump in jumps:
        jumping.jump(jump)
        with redis.client as client:  # so that calls whose answers are lost are sent again
            client.client_kill_filter(_type=world.rng.choice(("normal", "pubsub")), skipme=True)
        for _ in range(5):
            world.rng.choice(world.readers).cut()
            await world.more(10)
    await world.settle()
    assert not world.refused
    if goes_ahead(jumps):
        assert all(reader.lost for reader in world.readers), "each is told that history is lost"
    else:
        assert world.lost == 0
    with redis.client as client:
        assert 0 < client.ttl(META) <= LIVES_S
        assert 0 < client.ttl(LOG) <= LIVES_S
        stays = {key.decode().removeprefix(PREFIX) for key in client.keys("*") if client.ttl(key) < 0}
    assert all(key == "resume-secret" or key.startswith("{occupied}:") for key in stays)


@pytest.mark.chaos
async def test_wherever_the_clock_is_set_nobody_misses_anything_without_a_word(start_world, redis, jumping):
    world = await start_world(redis)
    for _ in range(8):
        jumping.jump(world.rng.choice((-HOUR_S, -LIVES_S, -20, 0, 20, LIVES_S - 30, LIVES_S, LIVES_S + 30, HOUR_S)))
        if world.rng.random() < 0.5:
            with redis.client as client:
                client.client_kill_filter(_type=world.rng.choice(("normal", "pubsub")), skipme=True)
        world.rng.choice(world.readers).cut()
        await world.more(world.rng.randrange(1, 30))
    await world.settle()
    assert not world.refused


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_history_and_who_may_resume_is_whole_or_gone(
    start_pair, start_server, open_raw, guest_token, redis, jumping, jumps
):
    first, second = await start_pair()
    token = guest_token()
    gone = await open_raw(first.url, token=token, session="s")
    await gone.ws.close()
    for number in range(1, 6):
        await first.hub.published("note", number, session="s")
    for jump in jumps:
        jumping.jump(jump)
        await second.hub.published("note", jump, session="s")
    is_lost = goes_ahead(jumps)
    kept = [1, 2, 3, 4, 5, *jumps]
    if is_lost:  # what was published ahead of the jump is gone, all of it
        kept = list(jumps) if jumps[0] > 0 else list(jumps[-1:])
    for server in (first, second):
        assert [message.data for message in await server.hub.history(session="s")] == kept
        assert [message.data for message in await server.hub.history(session="s", before=len(kept))] == kept[:-1]
    recovery = gone.greeting["data"]["recovery"]
    resume = {"epoch": recovery["epoch"], "seq": recovery["seq"], "resume": recovery["resumeToken"]}
    third = await start_server(broker=read_target(redis.url), broker_prefix="t:")
    for server in (first, second, third):
        back = await open_raw(server.url, token=token, session="s", resume=resume)
        assert back.greeting["data"]["recovery"]["recovered"] is not is_lost
        if not is_lost:
            assert [(await back.receive())["data"] for _ in kept] == kept
        await back.ws.close()


async def test_who_is_in_a_quiet_group_is_told_by_the_next_look(start_pair, open_raw, jumping, movable_clock):
    first, second = await start_pair(clock=movable_clock.clock)
    here, there = await open_raw(first.url, session="s"), await open_raw(second.url, session="s")
    placed = await first.hub.published("note", 1, session="s")
    for client in (here, there):
        await client.receive_type("note")
    jumping.jump(HOUR_S)
    await pass_time(movable_clock, RESYNC_S + 2)
    told = [(await client.receive_type("recovery"))["data"] for client in (here, there)]
    assert told[0] == told[1]
    assert told[0]["recovered"] is False
    assert told[0]["epoch"] != placed.epoch
    again = await second.hub.published("note", 2, session="s")
    assert (again.epoch, again.seq) == (told[0]["epoch"], 1)


def test_no_call_is_done_twice_however_far_the_clock_is_set_ahead(redis, jumping):
    meta, log = "t:{s:x}:meta", "t:{s:x}:log"

    def publish(producer, number):
        return client.eval(PUBLISH, 2, meta, log, "t:{s:x}", "run", "epoch", producer, number, 1000, LIVES_S, NOTE)

    with redis.client as client:
        first = publish("slow", 1)
        others = [f"p{number}" for number in range(2 * MANY)]
        for producer in others[:MANY]:
            publish(producer, 1)
        jumping.jump(LIVES_S - 30)  # which its keys outlive
        for producer in others[MANY:]:
            publish(producer, 1)
        assert publish("slow", 1) == first, "its answer was lost, and it is sent again"
        assert client.xlen(log) == 1 + len(others)
        for ahead_s in (LIVES_S - 30 + FORGOTTEN_S, 2 * LIVES_S + FORGOTTEN_S, 3 * LIVES_S + 2 * FORGOTTEN_S):
            jumping.jump(ahead_s)
            for producer in ("late", f"later {ahead_s}"):
                publish(producer, ahead_s)
        assert client.hlen(meta) < MANY, "but none of them for ever"


@pytest.mark.parametrize("jumps", FORTH_AND_BACK, ids=str)
async def test_nobody_is_said_to_have_left_or_come(start_pair, come, jumping, movable_clock, jumps):
    first, second = await start_pair(clock=movable_clock.clock, jwt_key=JwtKey(secret=SECRET))
    watcher, there = await come(first, "alice"), await come(second, "bob")
    await watcher.knows("alice", "bob")
    for jump in jumps:
        jumping.jump(jump)
        await pass_time(movable_clock, 25)
        for member in (watcher, there):
            await member.hears_nothing()
        for server in (first, second):
            assert set(await server.hub.members("hall")) == {"alice", "bob"}


@pytest.mark.parametrize("jumps", FORTH_AND_BACK, ids=str)
async def test_what_is_revoked_stays_so_and_its_keys_end(start_server, redis, jumping, jumps):
    async def start():
        return await start_server(broker=read_target(redis.url), broker_prefix="t:", jwt_key=JwtKey(secret=SECRET))

    first = await start()
    soon_ms = now_ms() + HOUR_S // 2 * 1000
    await first.hub.revoke(Revocation(jti="before", expires_at_ms=soon_ms))
    for jump in jumps:
        jumping.jump(jump)
        await (await start()).hub.revoke(Revocation(jti=f"at {jump}", expires_at_ms=soon_ms))
    last = await start()
    async with asyncio.timeout(HANG_S):
        for server in (first, last):
            while server.metrics.value("wsctl_revocations") != 1 + len(jumps):
                await asyncio.sleep(0.01)
    with redis.client as client:
        assert 0 < client.ttl("t:{revoked}") < 4 * HOUR_S

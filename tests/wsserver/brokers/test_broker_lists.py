"""Processes that share a Redis and were given different brokers: none starts so, and one that runs says so."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import httpx
import pytest

from tests.wsserver.brokers.jumpingredis import JumpingRedis
from tests.wsserver.conftest import HANG_S
from wscore.errors import ConfigError
from wsserver.brokers import places, redislists
from wsserver.brokers.base import ROOM, SESSION
from wsserver.brokers.places import OTHER_LISTS, place_of
from wsserver.brokers.redistarget import read_target
from wsserver.engines.request import HEALTH_PATH

KEY, HEARD = "t:{brokers}", "t:{brokers}:heard"


@pytest.fixture
def brokers(start_redis):
    return [start_redis(), start_redis()]


@pytest.fixture
def start(start_server):
    """Start a server with some brokers, beside processes that have others: `await start([one], before=[two])`."""

    async def begin(those, before=(), **settings):
        targets, elder = (
            tuple(read_target(each if isinstance(each, str) else each.url) for each in given)
            for given in (those, before)
        )
        return await start_server(broker=targets, broker_before=elder, broker_prefix="t:", **settings)

    return begin


def place(redis):
    return f"redis://127.0.0.1:{redis.port}/0"


def at_localhost(redis):
    return redis.url.replace("127.0.0.1", "localhost")


def heard(redis):
    with redis.client as client:
        return client.hlen(KEY), client.zcard(HEARD)


async def until(is_so) -> None:
    async with asyncio.timeout(HANG_S):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("runs", "comes", "told"),
    [
        ([0], [0, 1], "only here {1}, only there none"),
        ([0, 1], [1], "only here none, only there {0}"),
        ([0, 1], ["localhost", 1], "only here redis://localhost:{port}/0, only there {0}"),
    ],
    ids=["one more", "one less", "another name"],
)
async def test_a_start_with_other_brokers_is_refused_and_told_what_differs(brokers, start, runs, comes, told):
    def given(those):
        return [at_localhost(brokers[0]) if each == "localhost" else brokers[each] for each in those]

    running = await start(given(runs))
    before = [heard(redis) for redis in brokers]
    with pytest.raises(ConfigError, match=r"^--broker: ") as caught:
        await start(given(comes))
    told = told.format(*map(place, brokers), port=brokers[0].port)
    assert f": {told}; give all of them the same" in str(caught.value)
    assert "--broker-before" in str(caught.value)
    assert [heard(redis) for redis in brokers] == before, "who was refused is not taken for one that runs"
    assert running.is_ready
    await start(given(runs)[::-1])  # the order says nothing


async def test_names_of_a_single_broker_say_nothing_and_neither_does_a_password(brokers, start):
    redis = brokers[0]
    await start([redis])
    await start([at_localhost(redis)])
    with redis.client as client:
        client.config_set("requirepass", "geheim")
        second = await start([redis.url.replace("//", "//:geheim@")])
        client.auth("geheim")
        kept = repr(client.hgetall(KEY))
        client.config_set("requirepass", "")
    assert second.is_ready
    assert "geheim" not in kept


async def test_who_has_ended_in_order_is_in_nobodys_way(brokers, start):
    server = await start(brokers)
    await server.stop()
    assert (await start(brokers[:1])).is_ready


async def test_who_was_killed_counts_for_some_time_by_the_clock_of_redis_that_may_jump(brokers, start):
    redis = brokers[0]
    server = await start([redis])
    with redis.client as client:
        now_s = client.time()[0]
        client.hset(KEY, "dead", "redis://a:1/0 redis://b:1/0\n-")
        client.zadd(HEARD, {"dead": now_s + 3600})  # the clock has gone back since
        with pytest.raises(ConfigError, match="only there redis://a:1/0 redis://b:1/0"):
            await start([redis])
        assert client.zscore(HEARD, "dead") <= now_s + 5
        client.zadd(HEARD, {"dead": now_s - places.ALIVE_S - 1})
    assert (await start([redis])).is_ready
    assert server.is_ready


async def test_who_runs_and_sees_another_list_says_so_and_is_not_ready_until_it_is_gone(
    brokers, start, monkeypatch, caplog, movable_clock
):
    first = await start(brokers[:1], clock=movable_clock.clock)
    with brokers[0].client as client:
        client.delete(KEY, HEARD)  # as where a Redis has forgotten, or both start while it is away
        second = await start(brokers)
        both = (first, second)
        async with asyncio.timeout(HANG_S):
            while first.is_ready or second.is_ready:
                await movable_clock.advance(1)
                second._broker.check()
                monkeypatch.setattr(redislists, "BEAT_S", 0)
                await asyncio.sleep(0.01)
        assert [server.metrics.value("wsctl_broker_other_lists") for server in both] == [1, 1]
        for server in both:
            async with httpx.AsyncClient() as http:
                answer = await http.get("http://" + server.url.split("/")[2] + HEALTH_PATH)
            assert (answer.status_code, answer.text) == (503, f"{OTHER_LISTS}\n")
    warned = [record.fields for record in caplog.records if record.message == "broker.lists_differ"]
    assert [record.levelno for record in caplog.records if record.message == "broker.lists_differ"] == [
        logging.ERROR
    ] * 2
    assert {fields["only_here"] for fields in warned} == {"", place(brokers[1])}
    await second.stop()
    async with asyncio.timeout(HANG_S):
        while not first.is_ready:
            await movable_clock.advance(1)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("jumps", [(3600, 0), (-3600, 0)], ids=str)
async def test_a_clock_of_redis_that_jumps_takes_nobody_s_list_for_gone_and_keeps_none_for_ever(
    start_redis, tmp_path, start, monkeypatch, open_raw, jumps
):
    monkeypatch.setattr(redislists, "BEAT_S", 0)
    jumping = JumpingRedis(start_redis, tmp_path)
    brokers = [jumping.server, start_redis()]
    old = await start(brokers[:1])
    new = await start(brokers, brokers[:1])

    async def told():
        for _ in range(2):
            for server in (new, old):
                server._broker.check()
                await server.hub.published("note", 1, room=here)  # which is answered behind it
        return [server.metrics.value("wsctl_broker_other_lists") for server in (new, old)]

    here, there = names_at(brokers, 0)[0], names_at(brokers, 1)[0]
    assert await told() == [1, 1]
    client = await open_raw(new.url, session=names_at(brokers, 1, SESSION)[0])
    await client.send("room.join", {"room": there})
    await client.receive_type("room.joined")
    for jump in jumps:
        jumping.jump(jump)
        assert await told() == [1, 1]
    await client.send("ping", id="p")
    assert (await client.receive())["type"] == "pong", "nothing was lost in its room"
    with jumping.server.client as direct:
        direct.zadd(HEARD, {old._broker.process: direct.time()[0] - places.ALIVE_S - 1})
    new._broker.check()
    gone = [(await client.receive_type("recovery"))["data"].get("room") for _ in range(2)]
    assert gone == [None, there], "of its session and its room, now that it is gone"


def names_at(brokers, index, kind=ROOM):
    """Return names of groups that live in one of two Redis."""
    names = [f"r{number}" for number in range(40)]
    return [name for name in names if place_of(kind, name, list(map(place, brokers))) == index]


async def test_one_by_one_they_are_exchanged_and_whoever_may_have_missed_something_is_told(
    brokers, start, monkeypatch, open_raw
):
    monkeypatch.setattr(redislists, "BEAT_S", 0)
    old = await start(brokers[:1])
    new = [await start(brokers, brokers[:1]) for _ in range(2)]
    for server in (old, *new):
        server._broker.check()
    await until(lambda: [server.metrics.value("wsctl_broker_other_lists") for server in (old, *new)] == [1, 1, 1])
    assert all(server.is_ready for server in (old, *new)), "it is as planned"
    moved, same = names_at(brokers, 1), names_at(brokers, 0)
    clients = [await open_raw(server.url, session=names_at(brokers, 0, SESSION)[0]) for server in new]
    for client in clients:
        for room in (*moved[:3], *same[:3]):
            await client.send("room.join", {"room": room})
            await client.receive_type("room.joined")
    old.hub.publish("news", 1, room=moved[0])  # nobody at the new ones hears it
    placed = await old.hub.published("news", 2, room=same[0])
    for client in clients:
        assert (await client.receive_type("news"))["data"] == 2
    await old.stop()
    for server in new:
        server._broker.check()
    for client in clients:
        told = [(await client.receive_type("recovery")) for _ in moved[:3]]
        assert Counter(envelope["data"]["room"] for envelope in told) == Counter(moved[:3])
        assert all(envelope["data"]["recovered"] is False for envelope in told)
    assert (await new[0].hub.published("news", 3, room=same[0])).seq == placed.seq + 1
    for client in clients:
        assert (await client.receive())["data"] == 3, "and those of the other rooms are told nothing"

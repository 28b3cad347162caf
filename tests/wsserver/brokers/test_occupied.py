"""Of all processes that share a Redis one is told that a room is occupied or vacated, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest

from tests.wsserver.brokers.jumpingredis import JumpingRedis
from tests.wsserver.conftest import HANG_S
from wscore.recovery import RecoveryLimits
from wsserver.brokers import redisoccupied
from wsserver.brokers.memory import random_epoch
from wsserver.brokers.places import BrokerLists
from wsserver.brokers.redis import RedisBroker
from wsserver.brokers.redisoccupied import BURIED, CHANGE, MAX_MISSED
from wsserver.brokers.redistarget import read_target
from wsserver.brokers.sharded import ShardedBroker
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

LIMITS = RecoveryLimits()


class Process:
    """A broker, what it was told, and a check of it now and then, as a server does."""

    def __init__(self, urls, told, now_s):
        process, metrics, log = random_epoch(), Metrics(), EventLog()
        targets = [read_target(url) for url in urls]
        lists = BrokerLists([str(target) for target in targets], [], log)
        brokers = [
            RedisBroker(target, "t:", LIMITS, process=process, lists=lists, now_s=now_s, metrics=metrics, log=log)
            for target in targets
        ]
        self.broker = brokers[0] if len(brokers) == 1 else ShardedBroker(brokers)
        self.broker.attach(lambda *_: None, lambda *_: None, lambda *_: None)
        self.broker.attach_orders(lambda _: None)
        self.broker.attach_orders(lambda _: None, "operations")
        self.broker.attach_revoked(lambda _: None, dict)
        self.broker.attach_occupied(lambda room, is_occupied, order: told.append((order, room, is_occupied)))

    async def start(self):
        await self.broker.start()
        self.begin()
        return self

    def begin(self):
        self.checking = asyncio.create_task(self._check())

    async def _check(self):
        while True:
            self.broker.check()
            await asyncio.sleep(0.02)

    async def die(self):
        """Say no more, and not goodbye."""
        self.checking.cancel()
        await self.broker.stop(0)


@pytest.fixture
async def world(redis):
    told, started = [], []
    clock = asyncio.get_running_loop().time

    async def start(now_s=clock):
        process = await Process([redis.url], told, now_s).start()
        started.append(process)
        return process

    yield told, start
    for process in started:
        process.checking.cancel()
        await process.broker.stop(0)


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(redisoccupied, "BEAT_S", 0.1)


async def until(told, count):
    async with asyncio.timeout(HANG_S):
        while len(told) < count:
            await asyncio.sleep(0.01)
    return told[:count]


async def test_one_is_told_that_a_room_has_its_first_member_and_none_any_more(world):
    told, start = world
    first, second = await start(), await start()
    for process in (first, second):
        process.broker.subscribe("room", "hall")
        await process.broker.occupied_told()
    assert [event[1:] for event in told] == [("hall", True)]
    for process in (first, second):
        process.broker.unsubscribe("room", "hall")
        await process.broker.occupied_told()
    assert [event[1:] for event in told] == [("hall", True), ("hall", False)]
    assert told == sorted(told)


async def test_of_several_redis_the_one_of_a_room_decides(start_redis):
    told, servers = [], [start_redis(), start_redis()]
    clock = asyncio.get_running_loop().time
    processes = [Process([server.url for server in servers], told, clock) for _ in range(2)]
    rooms = {f"r{number}" for number in range(12)}
    for process in processes:
        await process.start()
        for room in rooms:
            process.broker.subscribe("room", room)
        await process.broker.occupied_told()
    assert sorted(event[1:] for event in told) == sorted((room, True) for room in rooms)
    for server in servers:
        with server.client as client:
            assert 0 < len(client.keys("t:{occupied}:room:*")) < len(rooms)
    for process in processes:
        for room in rooms:
            process.broker.unsubscribe("room", room)
        await process.broker.occupied_told()
    assert sorted(event[1:] for event in told[len(rooms) :]) == sorted((room, False) for room in rooms)
    for process in processes:
        await process.die()


async def test_rooms_that_fill_and_empty_at_random_are_told_of_in_turn(world):
    told, start = world
    processes = [await start() for _ in range(3)]
    rooms = [f"r{number}" for number in range(5)]
    inside = set()
    dice = random.Random(7)
    for _ in range(400):
        process, room = dice.choice(processes), dice.choice(rooms)
        if (process, room) in inside:
            inside.remove((process, room))
            process.broker.unsubscribe("room", room)
        else:
            inside.add((process, room))
            process.broker.subscribe("room", room)
        if dice.random() < 0.2:
            await asyncio.sleep(0.01)
    for process in processes:
        await process.broker.occupied_told()
    for room in rooms:
        states = [is_occupied for _, name, is_occupied in sorted(told) if name == room]
        states = [state for state, _ in itertools.groupby(states)]
        assert states == [number % 2 == 0 for number in range(len(states))]
        assert bool(states and states[-1]) == any(name == room for _, name in inside)
    assert len({order for order, _, _ in told}) == len(told)


async def test_rooms_of_a_process_that_died_are_vacated_unless_another_is_in_them(world, quick_beats):
    told, start = world
    first, second = await start(), await start()
    for room in ("both", "alone"):
        first.broker.subscribe("room", room)
    await first.broker.occupied_told()
    second.broker.subscribe("room", "both")
    await second.broker.occupied_told()
    await until(told, 2)
    await first.die()
    assert [event[1:] for event in (await until(told, 3))[2:]] == [("alone", False)]
    second.broker.unsubscribe("room", "both")
    assert [event[1:] for event in (await until(told, 4))[3:]] == [("both", False)]


async def test_who_was_taken_for_dead_and_is_not_is_in_its_rooms_again(world, redis, quick_beats):
    told, start = world
    first, _ = await start(), await start()
    first.broker.subscribe("room", "hall")
    await until(told, 1)
    first.checking.cancel()
    assert [event[1:] for event in (await until(told, 2))[1:]] == [("hall", False)]
    first.begin()
    assert [event[1:] for event in (await until(told, 3))[2:]] == [("hall", True)]
    with redis.client as client:
        keys = [f"t:{{occupied}}:{name}" for name in ("order", "room:", "of:", "beats")]
        assert client.eval(CHANGE, 4, *keys, first.broker.process, "hall", BURIED) == [0]  # by who looked earlier
        assert client.hkeys(f"{keys[1]}hall") == [first.broker.process.encode()]


@pytest.mark.parametrize("jumps", [(3600, 0), (-3600, 0)], ids=str)
async def test_no_clock_has_a_say_in_who_lives(start_redis, tmp_path, quick_beats, jumps):
    told, redis = [], JumpingRedis(start_redis, tmp_path)
    clock = asyncio.get_running_loop().time
    processes = [await Process([redis.server.url], told, clock).start() for _ in range(2)]
    for process, room in zip(processes, ("one", "another"), strict=True):
        process.broker.subscribe("room", room)
        await process.broker.occupied_told()
    with redis.server.client as client:
        for jump in jumps:
            redis.jump(jump)
            before = int(client.hget("t:{occupied}:beats", processes[0].broker.process))
            async with asyncio.timeout(HANG_S):
                while int(client.hget("t:{occupied}:beats", processes[0].broker.process)) < before + 2 * MAX_MISSED:
                    await asyncio.sleep(0.01)
            assert [event[1:] for event in told] == [("one", True), ("another", True)]
    await processes[0].die()
    assert [event[1:] for event in (await until(told, 3))[2:]] == [("one", False)]
    assert told == sorted(told)
    await processes[1].die()


async def test_what_redis_has_forgotten_is_told_again(world, redis):
    told, start = world
    process = await start()
    process.broker.subscribe("room", "hall")
    await until(told, 1)
    redis.kill()
    process.broker.subscribe("room", "meanwhile")
    redis.start()
    again = (await until(told, 3))[1:]
    assert {event[1:] for event in again} == {("hall", True), ("meanwhile", True)}
    assert min(order for order, _, _ in again) > told[0][0]


async def test_answers_that_are_lost_leave_no_room_wrong(world, redis):
    told, start = world
    processes = [await start() for _ in range(2)]
    rooms = [f"r{number}" for number in range(20)]
    inside = set()
    dice = random.Random(11)
    with redis.client as client:
        for step in range(600):
            process, room = dice.choice(processes), dice.choice(rooms)
            if (process, room) in inside:
                inside.remove((process, room))
                process.broker.unsubscribe("room", room)
            else:
                inside.add((process, room))
                process.broker.subscribe("room", room)
            if dice.random() < 0.2:
                await asyncio.sleep(0.005)
            if step % 60 == 30:
                client.client_kill_filter(_type="normal", skipme=True)
    async with asyncio.timeout(HANG_S):
        for process in processes:
            await process.broker.occupied_told()
    last = {}
    for _, room, is_occupied in sorted(told):
        last[room] = is_occupied
    assert {room for room, is_occupied in last.items() if is_occupied} == {room for _, room in inside}
    twice = [event for event, count in Counter(told).items() if count > 1]
    assert all(is_occupied for _, _, is_occupied in twice)

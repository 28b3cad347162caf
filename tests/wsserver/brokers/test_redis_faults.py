"""Redis and the way to it fail while clients talk: the oracle of design section 4 holds, and all of it heals."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.wsserver.brokers.faultrelay import FaultRelay
from tests.wsserver.brokers.faultworld import CHANNEL, LOG, META, SESSION
from tests.wsserver.conftest import HANG_S

pytestmark = pytest.mark.chaos
EVICTED = 5
REDIS_GREETS = 4000  # bytes: with INFO
SERVER_GREETS = 1500  # with the answer to the upgrade, and the first of what is replayed


@pytest.fixture
async def open_relay():
    relays = []

    async def start(redis=None):
        relay = FaultRelay(redis.port if redis else 0)
        relays.append(relay)
        return relay, await relay.start()

    yield start
    for relay in relays:
        await relay.stop()


async def test_clients_are_cut_at_random(start_world, redis):
    world = await start_world(redis)
    for _ in range(30):
        world.rng.choice(world.readers).cut()
        await world.more(world.rng.randrange(1, 20))
    await world.settle()
    assert world.lost == 0
    assert sum(reader.resumed for reader in world.readers) > 5


async def test_subscriptions_are_killed(start_world, redis):
    world = await start_world(redis)
    with redis.client as client:
        for _ in range(5):
            client.client_kill_filter(_type="pubsub")
            await world.more()
    await world.settle()
    assert world.lost == 0
    assert not world.refused


async def test_a_stalled_subscription_runs_over_its_limit_in_redis(start_world, redis, open_relay):
    relay, url = await open_relay(redis)
    world = await start_world(redis, redis.url, url)
    with redis.client as client:
        client.config_set("client-output-buffer-limit", "pubsub 32kb 0 0")
        relay.flows.clear()
        while len(client.client_list(_type="pubsub")) == 2:
            world.servers[0].hub.publish("bulk", "x" * 100_000, session=SESSION, lossy=True)
            await asyncio.sleep(0.01)
        relay.flows.set()
    await world.more()
    await world.settle()
    assert world.lost == 0


@pytest.mark.parametrize("keeps", ["aof", "aof with its tail cut off", "snapshot and later writes", "nothing"])
async def test_redis_is_killed_and_comes_back(start_world, start_redis, keeps):
    options = ("--appendonly", "yes", "--appendfsync", "always") if keeps.startswith("aof") else ("--save", "3600 1000")
    redis = start_redis(*options)
    world = await start_world(redis)
    before = world.readers[0].counter.position.epoch
    if keeps.startswith("snapshot"):
        with redis.client as client:
            client.save()
        await world.more(200)
    redis.kill()
    await world.away()
    if keeps.endswith("cut off"):
        (log,) = (*redis.directory.glob("appendonlydir/*.incr.aof"), *redis.directory.glob("appendonly.aof"))
        os.truncate(log, log.stat().st_size * 2 // 3)
    redis.start()
    await world.more()
    await world.settle()
    assert all(reader.counter.position.epoch != before for reader in world.readers)
    assert all(reader.lost == 1 for reader in world.readers)


@pytest.mark.slow
async def test_redis_stands_still_for_6_s_in_the_middle_of_a_publish(start_world, redis):
    world = await start_world(redis)
    redis.signal(signal.SIGSTOP)
    stopped = [asyncio.ensure_future(world.publish(server)) for server in world.servers]
    await asyncio.sleep(6)
    redis.signal(signal.SIGCONT)
    assert all(await asyncio.gather(*stopped)), "each is acknowledged, once, and stored"
    await world.settle()
    assert world.lost == 0
    assert not world.refused


@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", META), ("DEL", LOG), ("SCRIPT", "FLUSH")], ids=" ".join)
async def test_somebody_deletes(start_world, redis, command):
    world = await start_world(redis)
    deleted = 0
    with redis.client as client:
        for _ in range(3):
            with client.pipeline() as pipeline:  # in one step
                pipeline.hget(META, "seq").execute_command(*command)
                seq = pipeline.execute()[0]
            await world.more()
            if command == ("DEL", LOG):
                deleted = int(seq)
    await world.settle(lacks=deleted)
    assert not world.refused
    if command[0] == "SCRIPT":
        assert world.lost == 0
    elif command != ("DEL", LOG):
        assert all(reader.lost for reader in world.readers)


async def test_a_full_redis_refuses_and_takes_again(start_world, redis, open_raw):
    world = await start_world(redis)
    with redis.client as client:
        client.config_set("maxmemory", "1mb")
        async with asyncio.timeout(HANG_S):
            await world.until(lambda: len(world.refused) > 20)
        connections = client.info("stats")["total_connections_received"]
        newcomer = await open_raw(world.urls[0], session="new", greet=False)  # its group would need room
        assert await newcomer.close_code() == 1013
        assert all(server.is_ready for server in world.servers), "who is full is reached"
        assert client.info("stats")["total_connections_received"] == connections, "and nobody dials anew"
        client.config_set("maxmemory", 0)
    await world.more()
    await world.settle()
    assert world.lost == 0
    assert {str(error) for error in world.refused.values()} == {"OOM"}
    async with asyncio.timeout(HANG_S):
        while True:  # as who is told to try again later does
            with suppress(ConnectionClosed):
                newcomer = await open_raw(world.urls[0], session="new")
                break
    assert newcomer.greeting["data"]["recovery"]["seq"] == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_redis_makes_room_by_what_it_used_least(start_world, redis, policy):
    world = await start_world(redis)
    with redis.client as client, client.pubsub() as told:
        client.config_set("notify-keyspace-events", "Ee")
        told.subscribe("__keyevent@0__:evicted")
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 50_000)
        async with asyncio.timeout(HANG_S):
            while not world.lost or client.info("stats")["evicted_keys"] < EVICTED:
                world.rng.choice(world.readers).cut()  # who resumes needs what is evicted
                await world.more(5)
        client.config_set("maxmemory", 0)
        evicted = {message["data"] for message in iter(lambda: told.get_message(timeout=0.2), None)}
    assert len(evicted) > 1, "the subscription itself, and keys"
    await world.more()
    await world.settle(lacks=None if LOG.encode() in evicted else 0)  # entries are evicted without their count, too


async def test_a_replica_is_promoted_while_the_old_master_runs_on(start_world, redis, start_redis, open_relay):
    replica = start_redis("--replicaof", "127.0.0.1", str(redis.port))
    relays = [await open_relay(redis) for _ in range(2)]
    world = await start_world(redis, *(url for _, url in relays))
    with replica.client as client:
        while client.info("replication").get("master_link_status") != "up":
            await asyncio.sleep(0.02)
        client.replicaof("NO", "ONE")
    await world.more()
    world.redis = replica
    for relay, _ in relays:  # one after the other: for a while each server has a master of its own
        relay.port = replica.port
        relay.cut_all()
        await world.more()
    await world.settle()
    assert all(reader.lost for reader in world.readers)


async def test_a_server_s_connections_end_at_two_masters(start_world, redis, start_redis, open_relay):
    other = start_redis()
    relay, url = await open_relay(redis)
    world = await start_world(redis, redis.url, url)
    relay.port = other.port
    with redis.client as client:  # only the subscription moves, and what it hears is another Redis's
        client.client_kill_filter(_type="pubsub")
    while relay.subscriptions < 2:
        await asyncio.sleep(0.01)
    relay.port = redis.port
    await world.more()
    await world.settle()
    assert not world.refused


@pytest.mark.slow
async def test_a_relay_swallows_the_subscription_alone(start_world, redis, open_relay, movable_clock):
    relay, url = await open_relay(redis)
    world = await start_world(redis, redis.url, url, clock=movable_clock.clock)
    deaf = world.servers[1]
    relay.is_deaf = True
    await world.more()
    async with asyncio.timeout(HANG_S):
        while deaf.is_ready:
            await movable_clock.advance(1)
            await asyncio.sleep(0.02)  # for what is due at Redis and back
    for _ in range(20):
        await movable_clock.advance(0.5)
        await asyncio.sleep(0.01)
        assert not deaf.is_ready, "it dials again, and hears as little"
    relay.is_deaf = False
    await world.settle()
    assert world.lost == 0
    assert relay.subscriptions > 1


@pytest.mark.slow
async def test_redis_is_200_ms_away(start_world, redis, open_relay):
    relay, url = await open_relay(redis)
    relay.delay_s = 0.2
    world = await start_world(redis, redis.url, url)
    for _ in range(10):
        world.rng.choice(world.readers).cut()
        await world.more(10)
    await world.settle()
    assert world.lost == 0
    assert not world.refused


async def test_a_greeting_is_cut_off_twice(start_world, redis, open_relay):
    relay, url = await open_relay(redis)
    world = await start_world(redis, redis.url, url)
    relay.cuts = [world.rng.randrange(1, REDIS_GREETS) for _ in range(4)]  # two of each connection
    relay.cut_all()
    await world.away()
    await world.more()
    await world.settle()
    assert not relay.cuts
    assert world.lost == 0


@pytest.mark.parametrize("servers", [1, 2])
async def test_the_greeting_of_every_client_is_cut_off_twice_in_a_row(start_world, request, open_relay, servers):
    world = await start_world(request.getfixturevalue("redis") if servers == 2 else None)
    for reader in world.readers:
        reader.relay, _ = await open_relay()
        reader.cut()
    for turn in range(10):
        for reader in world.readers:
            reader.relay.cuts = [world.rng.randrange(1, SERVER_GREETS) for _ in range(2)]
            reader.relay.cut_all()
        async with asyncio.timeout(HANG_S):
            await world.until(lambda: not any(reader.relay.cuts for reader in world.readers))
            await world.until(lambda turn=turn: all(reader.resumed > turn for reader in world.readers))
    await world.settle()
    assert world.lost == 0
    assert not world.refused


async def test_what_is_no_batch_is_dropped_and_nobody_notices(start_world, redis):
    world = await start_world(redis)
    with redis.client as client:
        for _ in range(100):
            poison = world.rng.choice(
                (
                    world.rng.randbytes(world.rng.randrange(40)),
                    b"e:1:1:" + world.rng.randbytes(20),
                    b":::",
                    b"-:0:0:\x00\x00\x00\x00\x00\x09x",
                    b"\xff:1:0:",
                    b"e:" + b"9" * 5000 + b":0:",
                    b"e:1:2:\x01\x00\x00\x00\x00\x01x",
                )
            )
            client.publish(CHANNEL, poison)
            await world.more(1)
    await world.settle()
    assert world.lost == 0
    assert not world.refused

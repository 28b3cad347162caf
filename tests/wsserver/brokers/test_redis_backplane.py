"""The backplane against a real Redis: once and in order, whatever becomes of connections and of Redis."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from wscore.recovery import Position
from wsserver.brokers.batches import Item, pack_item, read_batch
from wsserver.brokers.redisbackplane import RedisBackplane, StoreLimits
from wsserver.brokers.redisqueue import RESENT_S, Keys, NotStored, Stored
from wsserver.brokers.redisscripts import FORGOTTEN_S
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
HANG_S = 20
LIMITS = StoreLimits(100, 512 << 10, 240)
ROOM = Keys("t:{r:a}", "t:{r:a}:meta", "t:{r:a}:log")


class Peer:
    """One process's side of the backplane."""

    def __init__(self, url, limits=LIMITS):
        self.batches = []
        self.subscribed = asyncio.Queue()
        self.changes = asyncio.Queue()
        self.refusals: list[str] = []
        self.arrived = asyncio.Event()
        self.backplane = RedisBackplane(
            read_target(url),
            "t:",
            secrets.token_urlsafe(9),
            limits,
            on_batch=self._batch,
            on_subscribed=self.subscribed.put_nowait,
            on_change=lambda: self.changes.put_nowait(self.backplane.is_up),
            on_refused=self.refusals.append,
            now_s=time.monotonic,
            metrics=Metrics(),
            log=EventLog(),
        )

    def _batch(self, channel, packed):
        self.batches.append(read_batch(packed))
        self.arrived.set()

    async def up(self):
        while not await asyncio.wait_for(self.changes.get(), HANG_S):
            pass

    async def listen(self):
        self.backplane.subscribe(ROOM.channel)
        await asyncio.wait_for(self.subscribed.get(), HANG_S)

    def publish(self, *items):
        future = asyncio.get_running_loop().create_future()
        packed = b"".join(map(pack_item, items))
        self.backplane.publish(ROOM, packed, future.set_result)
        return asyncio.wait_for(future, HANG_S)

    async def history(self, after=0):
        future = asyncio.get_running_loop().create_future()
        assert self.backplane.history(ROOM, after, lambda *answer: future.set_result(answer))
        return await asyncio.wait_for(future, HANG_S)

    async def received(self, count):
        async with asyncio.timeout(HANG_S):
            while sum(len(batch.items) for batch in self.batches) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return [item.payload for batch in self.batches for item in batch.items]


@pytest.fixture
async def open_peer(redis):
    peers = []

    async def open_one(url=None, **options):
        peer = Peer(url or redis.url, **options)
        peers.append(peer)
        peer.backplane.start()
        await peer.up()
        return peer

    yield open_one
    for peer in peers:
        await peer.backplane.stop(0)


def event(text, **options):
    return Item(text.encode(), True, **options)


async def test_a_batch_reaches_every_subscriber_with_its_place_and_is_kept(open_peer):
    first, second = await open_peer(), await open_peer()
    await first.listen()
    await second.listen()
    stored = await first.publish(event("a"), Item(b"lossy", False, is_lossy=True), event("b", without="c1"))
    assert stored.first == 1
    again = await second.publish(event("c"))
    assert again == Stored(stored.epoch, 3)
    for peer in (first, second):
        assert await peer.received(4) == [b"a", b"lossy", b"b", b"c"]
        assert [batch.first for batch in peer.batches] == [1, 3]
        assert peer.batches[0].items[1].is_lossy
        assert peer.batches[0].items[2].without == "c1"
    assert await second.history(1) == (Position(stored.epoch, 3), [event("b", without="c1"), event("c")])


async def test_what_is_not_numbered_is_told_and_not_kept(open_peer):
    peer = await open_peer()
    await peer.listen()
    assert peer.backplane.announce(ROOM, pack_item(Item(b"typing", False, is_lossy=True)))
    assert await peer.received(1) == [b"typing"]
    assert (await peer.history())[1] == []


async def test_a_call_that_is_sent_twice_is_stored_once(open_peer, redis):
    peer = await open_peer()
    await peer.listen()
    await peer.publish(event("a"))
    redis.signal(19)  # SIGSTOP: it takes the call, and does not answer
    waiting = asyncio.ensure_future(peer.publish(event("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    peer.backplane._calls.give_up("a test cuts it")
    redis.signal(18)
    stored = await waiting
    await peer.up()
    assert stored.first == 2
    position, items = await peer.history()
    assert position.seq == 2
    assert [item.payload for item in items] == [b"a", b"b"]


async def send_again(peer, number, *items):
    """Publish as the call of a number, as after a connection was lost."""
    peer.backplane._queue._number = number - 1
    return await peer.publish(*items)


async def test_a_call_is_known_however_many_have_published_to_the_group_since(open_peer, redis):
    peers = [await open_peer() for _ in range(3)]
    stored = await peers[0].publish(event("a"))
    for producer in range(150):  # processes come and go
        peers[1].backplane.producer = f"p{producer}"
        await peers[1].publish(event("b"))
    assert await send_again(peers[0], 1, event("a")) == stored
    with redis.client as client:
        looked = f"{int(time.time()) - FORGOTTEN_S - LIMITS.lives_s - 1}:150"
        client.hset(ROOM.meta, "looked", looked)  # who has published nothing since then is forgotten
        await peers[2].publish(event("c"))
        fields = client.hkeys(ROOM.meta)
        assert b"p:p148" not in fields
        assert {b"p:p149", b"p:" + peers[2].backplane.producer.encode()} < set(fields)
        assert client.hget(ROOM.meta, "looked") != looked.encode()


async def test_a_call_of_an_earlier_run_of_redis_is_stored_in_the_new_one(open_peer, redis):
    peer = await open_peer()
    before = await peer.publish(event("a"))
    with redis.client as client:
        client.hset(ROOM.meta, "run", "another")  # as a snapshot has it
    position, _ = await peer.history()
    again = await send_again(peer, 1, event("a"))
    assert position.epoch == again.epoch != before.epoch
    assert await peer.history() == (Position(again.epoch, 1), [event("a")])


async def test_a_call_that_waited_longer_than_it_is_known_is_not_sent_again(open_peer, redis, monkeypatch):
    peer = await open_peer()
    await peer.publish(event("a"))
    redis.signal(19)
    waiting = asyncio.ensure_future(peer.publish(event("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    now_s = time.monotonic() + RESENT_S + 1
    peer.backplane._now_s = peer.backplane._queue._now_s = lambda: now_s
    peer.backplane.check()
    assert await waiting == NotStored("the broker does not answer", is_unknown=True)
    peer.backplane._calls.give_up("a test cuts it")
    redis.signal(18)
    await peer.up()
    assert not list(peer.backplane._queue)
    assert peer.backplane.waiting == 0
    assert (await peer.publish(event("c"))).first in (2, 3)


async def test_another_run_of_redis_is_another_epoch(open_peer, start_redis):
    server = start_redis("--save", "3600 1")
    peer = await open_peer(server.url)
    before = await peer.publish(event("a"))
    with server.client as client:
        client.save()
    await peer.publish(event("after the snapshot"))
    server.kill()
    server.start("--save", "3600 1")
    await peer.up()
    stored = await peer.publish(event("b"))
    assert stored.epoch != before.epoch
    assert stored.first == 1
    assert await peer.history() == (Position(stored.epoch, 1), [event("b")])


async def test_scripts_that_are_gone_are_loaded_again_and_nothing_is_lost(open_peer, redis):
    peer = await open_peer()
    with redis.client as client:
        client.script_flush()
    assert (await peer.publish(event("a"))).first == 1


@pytest.mark.parametrize("key", ["meta", "log"])
async def test_a_key_that_is_gone_is_no_error(open_peer, redis, key):
    peer = await open_peer()
    before = await peer.publish(event("a"))
    with redis.client as client:
        client.delete(getattr(ROOM, key))
    stored = await peer.publish(event("b"))
    if key == "meta":
        assert stored.epoch != before.epoch
        assert stored.first == 1
    else:
        assert stored == Stored(before.epoch, 2)
        assert await peer.history(0) == (Position(before.epoch, 2), [])  # not whole: none


async def test_a_full_redis_says_so_and_takes_again_later(open_peer, redis):
    peer = await open_peer()
    with redis.client as client:
        client.setrange("ballast", 16 << 20, b"x")
        client.config_set("maxmemory", "8mb")
        assert await peer.publish(event("a")) == NotStored("OOM")
        client.delete("ballast")
    stored = await peer.publish(event("b"))
    assert isinstance(stored, Stored), stored
    assert stored.first == 1


async def test_a_subscription_that_is_cut_comes_back_and_says_so(open_peer, redis):
    peer = await open_peer()
    await peer.listen()
    with redis.client as client:
        client.client_kill_filter(_type="pubsub")
    assert await asyncio.wait_for(peer.subscribed.get(), HANG_S) == ROOM.channel
    await peer.publish(event("a"))
    assert await peer.received(1) == [b"a"]


async def test_a_history_that_is_too_large_is_none(open_peer):
    peer = await open_peer(limits=StoreLimits(100, 1000, 240))
    await peer.publish(*(event("x" * 300) for _ in range(5)))
    position, items = await peer.history(0)
    assert (position.seq, items) == (5, [])
    assert len((await peer.history(3))[1]) == 2


async def test_a_master_that_became_a_replica_is_left_and_nothing_is_refused(open_peer, redis):
    peer = await open_peer()
    with redis.client as client:
        client.replicaof("127.0.0.1", "1")
        waiting = asyncio.ensure_future(peer.publish(event("a")))
        async with asyncio.timeout(HANG_S):
            while not peer.backplane.problem:
                await asyncio.sleep(0.01)
        assert peer.backplane.problem == "it is a replica, which cannot be written to"
        client.replicaof("NO", "ONE")
    assert (await waiting).first == 1

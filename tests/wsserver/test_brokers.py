"""What every broker keeps to: groups are subscribed to while they have members, and get what is published in order."""

from __future__ import annotations

import asyncio
import shutil
from types import SimpleNamespace

import pytest

from wscore.recovery import Position, RecoveryLimits
from wscore.revocations import Revocations
from wsserver.brokers.base import ROOM, SESSION, UNNUMBERED, USER, PublishResult
from wsserver.brokers.memory import MemoryBroker
from wsserver.brokers.places import BrokerLists
from wsserver.brokers.redis import RedisBroker
from wsserver.brokers.redistarget import read_target
from wsserver.brokers.sharded import ShardedBroker
from wsserver.connections.groups import Groups
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

HANG_S = 20
LIMITS = RecoveryLimits(messages=3)


def connection(name: str) -> SimpleNamespace:
    return SimpleNamespace(id=name)


class Recording(MemoryBroker):
    """A broker that notes what is subscribed to."""

    __slots__ = ("subscriptions",)

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: list[tuple[str, str]] = []

    def subscribe(self, kind, name):
        self.subscriptions.append(("subscribe", name))

    def unsubscribe(self, kind, name):
        self.subscriptions.append(("unsubscribe", name))


class Member:
    """Who takes what a broker delivers in this process."""

    def __init__(self, broker) -> None:
        self.broker = broker
        self._delivered = asyncio.Queue()
        self.revoked = Revocations()
        broker.attach_revoked(self.revoked.add, self.revoked.entries)
        broker.attach(lambda *message: self._delivered.put_nowait(message), lambda *lost: None, lambda *answer: None)

    async def join(self, kind, name, asked=None) -> Position | None:
        self.broker.subscribe(kind, name)
        await self.broker.ready(kind, name, asked)
        return self.broker.position(kind, name)

    async def next(self):
        return await asyncio.wait_for(self._delivered.get(), HANG_S)


def memory_broker(request):
    return MemoryBroker(LIMITS)


def of_redis(url, process="one"):
    return of_several([url], process)[0]


def of_several(urls, process="one"):
    targets, now_s, log = [read_target(url) for url in urls], asyncio.get_running_loop().time, EventLog()
    lists = BrokerLists([str(target) for target in targets], [], log)
    return [
        RedisBroker(target, "test", LIMITS, process=process, lists=lists, now_s=now_s, metrics=Metrics(), log=log)
        for target in targets
    ]


def redis_broker(request):
    return of_redis(request.getfixturevalue("redis").url)


def valkey_broker(request):
    valkey = shutil.which("valkey-server")
    if valkey is None:
        pytest.skip("needs valkey-server, which Debian 12 has not")
    return of_redis(request.getfixturevalue("start_redis")(program=valkey).url)


def sharded_broker(request):
    start_redis = request.getfixturevalue("start_redis")
    return ShardedBroker(of_several([start_redis().url for _ in range(2)]))


@pytest.fixture(params=[memory_broker, redis_broker, valkey_broker, sharded_broker])
async def member(request):
    broker = request.param(request)
    member = Member(broker)
    await broker.start()
    yield member
    await broker.stop(1)


@pytest.mark.parametrize("kind", [SESSION, ROOM, USER])
async def test_what_is_published_is_delivered_in_order_and_byte_for_byte(member, kind):
    await member.join(kind, "hall")
    assert member.broker.publish(kind, "hall", b'{"n":1}') == UNNUMBERED
    member.broker.publish(kind, "hall", b'{"n":2}', lossy=True, except_connection="one")
    assert await member.broker.published(kind, "hall", b'{"n":3}') == UNNUMBERED
    assert [await member.next() for _ in range(3)] == [
        (kind, "hall", b'{"n":1}', False, None, None),
        (kind, "hall", b'{"n":2}', True, "one", None),
        (kind, "hall", b'{"n":3}', False, None, None),
    ]


@pytest.mark.parametrize("kind", [SESSION, ROOM])
async def test_what_is_recoverable_counts_and_whoever_waits_is_told_its_place(member, kind):
    before = await member.join(kind, "hall")
    assert before is not None
    first = member.broker.publish(kind, "hall", b'{"n":1}', recoverable=True)
    assert first in (UNNUMBERED, PublishResult(before.epoch, before.seq + 1))  # a network tells it later, or never
    second = await member.broker.published(kind, "hall", b'{"n":2}', recoverable=True, except_connection="one")
    assert second == PublishResult(before.epoch, before.seq + 2)
    assert [await member.next() for _ in range(2)] == [
        (kind, "hall", b'{"n":1}', False, None, before.seq + 1),
        (kind, "hall", b'{"n":2}', False, "one", before.seq + 2),
    ]
    assert member.broker.position(kind, "hall") == Position(before.epoch, before.seq + 2)


async def test_events_of_a_user_never_count(member):
    assert await member.join(USER, "ann") is None
    assert await member.broker.published(USER, "ann", b'{"n":1}', recoverable=True) == UNNUMBERED
    assert await member.next() == (USER, "ann", b'{"n":1}', False, None, None)


async def test_groups_of_one_name_and_another_kind_count_apart(member):
    session, room = await member.join(SESSION, "hall"), await member.join(ROOM, "hall")
    await member.broker.published(ROOM, "hall", b"{}", recoverable=True)
    assert (await member.next())[0] == ROOM
    assert member.broker.position(SESSION, "hall") == session
    assert member.broker.position(ROOM, "hall") == Position(room.epoch, room.seq + 1)


async def test_events_behind_a_position_are_had_wholly_or_not_at_all(member):
    start = await member.join(ROOM, "hall")
    for number in range(4):
        without, origin = ("one", "ann") if number == 2 else (None, None)
        await member.broker.published(
            ROOM, "hall", b'{"n":%d}' % number, recoverable=True, except_connection=without, except_origin=origin
        )
        await member.next()
    assert member.broker.since(ROOM, "hall", start) is None  # one more than the limits keep
    assert member.broker.since(ROOM, "hall", Position("another", start.seq + 2)) is None
    asked = Position(start.epoch, start.seq + 1)
    assert [event.seq for event in member.broker.since(ROOM, "hall", asked)] == [start.seq + n for n in (2, 3, 4)]
    kept = member.broker.since(ROOM, "hall", asked, "ann")
    assert [(event.previous, event.payload is None) for event in kept] == [
        (start.seq + 1, False),
        (start.seq + 2, True),
        (start.seq + 3, False),
    ]


async def test_what_was_published_while_nobody_was_in_a_group_is_there_for_who_comes_back(member):
    start = await member.join(ROOM, "hall")
    member.broker.unsubscribe(ROOM, "hall")
    await member.broker.published(ROOM, "hall", b'{"n":1}', recoverable=True)
    await member.next()  # a store says that it has it before it is here
    assert await member.join(ROOM, "hall", start) == Position(start.epoch, start.seq + 1)
    (event,) = member.broker.since(ROOM, "hall", start)
    assert event == (start.seq, start.seq + 1, b'{"n":1,"seq":%d}' % (start.seq + 1))


async def test_the_history_is_what_a_group_keeps_the_oldest_first(member):
    start = await member.join(ROOM, "hall")
    for number in range(1, 5):
        await member.broker.published(ROOM, "hall", b'{"n":%d}' % number, recoverable=True)
    events = [b'{"n":%d,"seq":%d}' % (number, start.seq + number) for number in range(1, 5)]
    assert list(await member.broker.history(ROOM, "hall", 10)) == events[1:]
    assert list(await member.broker.history(ROOM, "hall", 2)) == events[2:]
    assert list(await member.broker.history(ROOM, "hall", 2, before=start.seq + 4)) == events[1:3]
    assert not await member.broker.history(ROOM, "hall", 0)
    assert not await member.broker.history(ROOM, "elsewhere", 10)


async def test_who_is_left_out_by_its_origin_alone_is_so_in_a_replay(member):
    start = await member.join(ROOM, "hall")
    await member.broker.published(ROOM, "hall", b'{"n":1}', recoverable=True, except_origin="ann")
    assert (await member.next())[4] is None
    assert [event.payload for event in member.broker.since(ROOM, "hall", start, "ann")] == [None]
    assert [event.payload for event in member.broker.since(ROOM, "hall", start, "bob")] == [
        b'{"n":1,"seq":%d}' % (start.seq + 1)
    ]


async def test_all_processes_share_the_value_of_whoever_came_first(member):
    taken = []
    await member.broker.share("secret", b"first", taken.append)
    assert taken == [b"first"]


def test_a_result_says_nothing_of_receivers():
    assert set(PublishResult.__struct_fields__) == {"epoch", "seq"}


def test_a_group_is_subscribed_to_by_its_first_member_and_left_by_its_last():
    broker = Recording()
    groups = Groups(broker)
    first, second = connection("first"), connection("second")
    room = groups.find(SESSION, "room")
    assert groups.get(SESSION, "room") is None  # nobody is in it yet
    groups.join(room, first)
    groups.join(groups.find(SESSION, "room"), second)
    assert groups.get(SESSION, "room") is room
    assert list(room.members) == ["first", "second"]
    groups.leave(room, first)
    groups.leave(room, first)  # once more does nothing
    assert broker.subscriptions == [("subscribe", "room")]
    groups.leave(room, second)
    assert broker.subscriptions == [("subscribe", "room"), ("unsubscribe", "room")]
    assert len(groups) == 0

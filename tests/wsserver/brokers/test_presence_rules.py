"""Rules of presence over several processes, each in a small world: what is missed, who stands still, how many."""

from __future__ import annotations

import asyncio

import pytest

from tests.wsserver.brokers.presenceworld import World
from wsserver.brokers.base import NotPublishedError
from wsserver.lifetime.presence import MAX_LISTED
from wsserver.lifetime.presencenotes import Beat, pack
from wsserver.lifetime.sharedpresence import MAX_MISSED, RENEW_S
from wsserver.lifetime.toldrooms import TOLD_S

HOLD_S = 31.0  # as long as a process stays subscribed to a room that nobody is in


@pytest.fixture
async def world():
    return World(0, processes=2)


async def told(world, *members):
    """Return what members are told within a second: who came, and who left."""
    await world.calm(1)
    events = []
    for member in members:
        news = [envelope["data"] for envelope in member.connection.channel.written if envelope["type"] == "presence"]
        events.append(
            ({user for data in news for user in data["joined"]}, {user for data in news for user in data["left"]})
        )
        member.read()
    return events


async def test_who_left_while_its_process_could_not_say_so_is_gone_when_the_process_has_forgotten_the_room(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=False)
    await world.calm(HOLD_S)
    alice.read()
    assert alice.known == {"alice", "bob"}
    there.backplane.cut_calls()
    world.leave(bob)
    await world.calm(3)  # it has let go of the room, and is asked with the others no more
    there.backplane.heal()
    await world.calm(RENEW_S + 1)
    alice.read()
    assert alice.known == {"alice"}


async def test_who_left_while_a_watcher_heard_nothing_is_gone_when_it_hears_again(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=False)
    await world.calm(HOLD_S)
    here.backplane.cut_feed()
    world.leave(bob)
    await world.calm(3)
    here.backplane.heal()
    await world.calm(1)
    alice.read()
    assert alice.known == {"alice"}


async def test_who_asks_while_a_process_says_goodbye_is_told_of_those_who_may_come_back():
    world = World(0, processes=3)
    here, there, third = world.processes
    alice = world.join(here, "alice", "hall", watches=False)
    world.join(there, "bob", "hall", watches=False)
    world.join(third, "carol", "hall", watches=True)
    await world.calm(1)
    world.end(there)  # its goodbye is on the way
    looking = asyncio.ensure_future(alice.look())
    await asyncio.sleep(0)
    await world.calm(1)
    await looking
    alice.read()
    assert alice.known == {"alice", "bob", "carol"}
    await world.calm(5)
    alice.read()
    assert alice.known == {"alice", "carol"}


async def test_a_gap_in_what_is_told_is_asked_after_at_once(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=False)
    world.join(there, "carol", "hall", watches=False)
    await told(world, alice)
    world.leave(bob)
    world.pass_time(0.1)
    while there.backplane.calls:
        there.backplane.pass_on(is_lost=True)
    assert await told(world, alice) == [(set(), set())]
    world.join(there, "dave", "hall", watches=False)
    assert await told(world, alice) == [({"dave"}, {"bob"})]


async def test_what_nobody_asks_for_any_more_is_kept_for_50_s(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=False)
    await world.calm(RENEW_S * 4)  # as long as it is asked for it is told
    assert there.house.watch.used > 0
    world.leave(alice)
    await world.calm(TOLD_S - RENEW_S - 1)
    assert there.house.watch.used > 0
    await world.calm(RENEW_S + 2)
    assert there.house.watch.used == here.house.watch.used == 0
    world.leave(bob)
    world.pass_time(0.1)
    assert not there.backplane.calls  # nor is anybody told
    again = world.join(here, "alice", "hall", watches=True)
    world.join(there, "carol", "hall", watches=False)
    await world.calm(1)
    again.read()
    assert again.known == {"alice", "carol"}


async def test_one_that_stands_still_for_5_s_has_lost_nobody_and_nobody_is_told_anything(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=True)
    await told(world, alice, bob)
    there.is_stopped = True
    await world.calm(5)
    carol = world.join(here, "carol", "hall", watches=False)
    assert await told(world, alice) == [({"carol"}, set())]
    there.go_on(world.now_s)
    assert await told(world, alice, bob) == [(set(), set()), ({"carol"}, set())]
    world.leave(carol)
    assert await told(world, alice, bob) == [(set(), {"carol"})] * 2


async def test_one_that_was_taken_for_dead_is_back_as_soon_as_it_goes_on(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    bob = world.join(there, "bob", "hall", watches=True)
    await told(world, alice, bob)
    there.is_stopped = True
    await world.calm(14)
    assert await told(world, alice) == [(set(), set())]
    await world.calm(6)
    assert await told(world, alice) == [(set(), {"bob"})]
    there.go_on(world.now_s)
    assert await told(world, alice, bob) == [({"bob"}, set()), (set(), set())]


async def test_of_more_than_1000_users_in_all_processes_only_the_number_is_told(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    await world.calm(1)
    crowd = [
        world.join(process, f"{process.name}-{number}", "hall", watches=False)
        for process in (here, there)
        for number in range(MAX_LISTED // 2)
    ]
    double = world.join(there, "alice", "hall", watches=False)  # is counted once
    await world.calm(1)
    last = alice.connection.channel.written[-1]["data"]
    assert (last["joined"], last["left"], last["count"]) == ([], [], MAX_LISTED + 1)
    late = [world.join(process, "late", "hall", watches=True) for process in (here, there)]
    await world.calm(1)
    for member in late:
        (joined,) = [envelope for envelope in member.connection.channel.written if envelope["type"] == "room.joined"]
        assert joined["data"] == {"room": "hall", "memberCount": MAX_LISTED + 2}
    for process in world.processes:
        asked = asyncio.ensure_future(process.house.rooms.members("hall"))
        await asyncio.sleep(0)
        await world.flush()
        users = await asked
        assert len(users) == len(set(users)) == MAX_LISTED + 2
    assert double.is_in
    for member in crowd[: MAX_LISTED // 4]:
        member.process.house.rooms.leave(member.connection, "hall")
    await world.calm(1)
    for member in (alice, *late):
        assert member.connection.channel.written[-1]["data"]["count"] == MAX_LISTED + 2 - MAX_LISTED // 4


async def test_who_asks_and_is_not_told_how_many_hear_it_gets_no_list_that_looks_whole(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=False)
    world.join(there, "bob", "hall", watches=False)
    await world.calm(1)
    asked = asyncio.ensure_future(here.house.rooms.members("hall"))
    looking = asyncio.ensure_future(here.house.rooms.ready_to_watch("hall"))
    await asyncio.sleep(0)
    here.backplane.calls.clear()  # Redis does not answer
    world.pass_time(3)
    with pytest.raises(NotPublishedError):
        await asked
    with pytest.raises(TimeoutError):
        await looking
    looking = asyncio.ensure_future(alice.look())
    await asyncio.sleep(0)
    await world.calm(1)
    await looking
    alice.read()
    assert alice.known == {"alice", "bob"}


async def test_who_may_come_back_to_a_process_that_has_nobody_left_in_the_room_is_there_for_who_asks(world):
    here, there = world.processes
    bob = world.join(there, "bob", "hall", watches=False)
    world.join(here, "alice", "hall", watches=True)
    await world.calm(HOLD_S)
    world.lose(bob)
    await world.calm(1)
    third = world.start()
    await world.calm(0.5)
    carol = world.join(third, "carol", "hall", watches=True)
    await world.calm(0.5)
    carol.read()
    assert carol.known == {"alice", "bob", "carol"}
    await world.calm(6)
    carol.read()
    assert carol.known == {"alice", "carol"}


async def test_a_beat_that_comes_more_than_once_as_over_several_brokers_takes_nobody_for_dead(world):
    here, there = world.processes
    alice = world.join(here, "alice", "hall", watches=True)
    world.join(there, "bob", "hall", watches=False)
    await world.calm(1)
    for _ in range(2 * MAX_MISSED):
        here.shared.take(pack(Beat(here.name, 1000)))
    assert await told(world, alice) == [(set(), set())]
    assert alice.known == {"alice", "bob"}
    for number in range(2 * MAX_MISSED):
        here.shared.take(pack(Beat(here.name, 1001 + number)))
    assert await told(world, alice) == [(set(), {"bob"})]

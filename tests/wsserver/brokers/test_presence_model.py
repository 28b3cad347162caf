"""Presence in a world of several processes: whatever is late, lost or cut, in the end everybody knows who is there."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.wsserver.brokers.presenceworld import Member, World
from wsserver.lifetime import presence, sharedpresence, toldrooms
from wsserver.lifetime.roomview import RoomView
from wsserver.lifetime.sharedpresence import SharedPresence
from wsserver.lifetime.toldrooms import ToldRooms

SEEDS = int(os.environ.get("CHAOS_SEEDS", "30"))
USERS = tuple(f"u{number}" for number in range(9))
ROOMS = ("hall", "kitchen")
BACK_S = 4.0  # less than it takes until somebody has left
SETTLED_S = 6.0  # who has been there for so long is lingering nowhere else
HEALED_S = 40.0
TOLD_S = 5.5  # who is lost has left after 5 s, and all who watch are told at once


async def rough(seed: int, steps: int = 300, *, is_quiet: bool = False) -> None:
    """Let anything happen, then let it heal; while it `is_quiet` the network is late, and no worse."""
    world = World(seed)
    rng = world.rng

    def join() -> None:
        world.join(rng.choice(world.processes), rng.choice(USERS), rng.choice(ROOMS), watches=rng.random() < 0.4)

    def lose() -> None:
        if world.members:
            rng.choice((world.lose, world.leave))(rng.choice(world.members))

    def move() -> None:
        if world.members:
            member = rng.choice(world.members)
            world.lose(member)
            world.join(rng.choice(world.processes), member.user, member.room, watches=member.watches)

    def cut() -> None:
        backplane = rng.choice(world.processes).backplane
        for call in rng.sample((backplane.cut_calls, backplane.cut_feed), rng.choice((1, 1, 2))):
            call()

    def heal() -> None:
        rng.choice(world.processes).backplane.heal()

    def stop_or_go_on() -> None:
        process = rng.choice(world.processes)
        if process.is_stopped:
            process.go_on(world.now_s)
        else:
            process.is_stopped = True

    def end() -> None:
        process = rng.choice(world.processes)
        if not process.is_stopped and process.backplane.is_up:
            rng.choice((world.kill, world.end))(process)
            world.start()

    things = (
        (12, join),
        (12, lose),
        (4, move),
        (60, world.trickle),
        (10, lambda: world.pass_time(rng.choice((0.05, 0.3, 1.0) if is_quiet else (0.05, 0.3, 1.0, 3.0, 3.0, 20.0)))),
    )
    if not is_quiet:
        things += ((5, world.drop), (1.5, cut), (2, heal), (0.7, stop_or_go_on), (0.4, end))
    weights, calls = zip(*things, strict=True)
    for _ in range(steps):
        rng.choices(calls, weights)[0]()
        for _ in range(4):
            await asyncio.sleep(0)
        if rng.random() < 0.2:
            await world.flush()
        world.read()
    for process in world.processes:
        process.backplane.heal()
        if process.is_stopped:
            process.go_on(world.now_s)
    await world.calm(TOLD_S if is_quiet else HEALED_S)
    world.read()
    for room in ROOMS:
        there = world.there(room)
        for member in world.members:
            if member.room == room and member.watches and member.is_in:
                assert member.known == there, f"{member.user} at {member.process.name} does not know who is in {room}"
        for process in world.processes:
            asked = asyncio.ensure_future(process.house.rooms.members(room))
            await asyncio.sleep(0)
            await world.flush()
            assert set(await asked) == there


async def quiet(seed: int) -> None:
    """Let users come and go over a network that is late: nobody waits for what is asked anew now and then."""
    await rough(seed, is_quiet=True)


async def rolling(seed: int, slices: int = 60) -> None:
    """Let users reconnect, and processes end or be killed, over a network that works: nobody is told to have left."""
    world = World(seed)
    rng = world.rng
    away: list[tuple[float, Member]] = []

    def gone(members: list[Member]) -> None:
        away.extend((world.now_s + rng.uniform(0, BACK_S), member) for member in members)

    for user in USERS:
        for room in ROOMS:
            world.join(rng.choice(world.processes), user, room, watches=rng.random() < 0.7)
    for _ in range(slices):
        settled = {member for member in world.members if world.now_s - member.since_s > SETTLED_S}
        member = rng.choice(world.members or [None])
        if member in settled and rng.random() < 0.3:
            world.lose(member)
            gone([member])
        process = rng.choice(world.processes)
        if settled.issuperset(world.of(process)) and rng.random() < 0.2:
            world.start()
            await world.calm(0.5)
            gone(rng.choice((world.end, world.kill))(process))
        await world.calm(0.5)
        for entry in [entry for entry in away if entry[0] <= world.now_s]:
            away.remove(entry)
            world.join(rng.choice(world.processes), entry[1].user, entry[1].room, watches=entry[1].watches)
        world.read()
        for member in world.members:
            assert not member.left, f"{member.user} at {member.process.name} is told that {member.left} left"


@pytest.mark.chaos
def test_in_the_end_everybody_knows_who_is_there_and_nobody_is_told_twice():
    for seed in range(SEEDS):
        asyncio.run(rough(seed))


@pytest.mark.chaos
def test_over_a_network_that_is_only_late_everybody_is_told_at_once():
    for seed in range(SEEDS):
        asyncio.run(quiet(seed))


@pytest.mark.chaos
def test_who_comes_back_within_5_s_has_not_been_away_whoever_ends_meanwhile():
    for seed in range(SEEDS):
        asyncio.run(rolling(seed))


# Why no state machine of hypothesis: one with the same things to happen, in any order, was held against 23 mutants. It
# found two of them in 80 runs (2.4 s). These lives, where all is as frequent as on a network, found nine in 40 seeds
# (1.4 s). What they miss is healed by what is asked anew every 15 s, or concerns a moment that hardly comes by chance:
# `test_presence_rules.py` and `test_shared_presence.py` find that.
MUTANTS = {
    "the dead stay": (SharedPresence, "_count_missed", rough),
    "the dead stay in their rooms": (RoomView, "drop", rough),
    "nobody asks again": (SharedPresence, "_renew", rough),
    "changes are not told": (ToldRooms, "_announce", quiet),
    "who asked is soon forgotten": (toldrooms, "TOLD_S", rolling),
    "newcomers are not heard": (SharedPresence, "entered", rolling),
    "a beat is an eternity": (sharedpresence, "MAX_MISSED", rolling),
    "nobody may come back": (presence, "LINGER_S", rolling),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_model_catches(mutant, monkeypatch):
    owner, name, life = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, (lambda *_: None) if callable(getattr(owner, name)) else 0)
    with pytest.raises(AssertionError):
        list(map(asyncio.run, map(life, range(200))))


def test_the_model_catches_who_leaves_a_room_without_a_last_word(monkeypatch):
    monkeypatch.setattr(ToldRooms, "forget", lambda self, room: self._rooms.pop(room, None))
    with pytest.raises(AssertionError):
        list(map(asyncio.run, map(quiet, range(200))))

"""Several Redis for one server: each group lives in one of them, and one that is away concerns its groups alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import pytest

from tests.wsserver.conftest import HANG_S
from wscore.errors import ConfigError
from wscore.recovery import RecoveryLimits
from wsserver import NotRevokedError, Revocation, ServerSettings
from wsserver.brokers import redis as redis_broker
from wsserver.brokers.base import ROOM, SESSION, USER, BrokerUnreachableError, NotPublishedError
from wsserver.brokers.places import place_of
from wsserver.brokers.redistarget import read_target
from wsserver.connections.groups import user_group_name
from wsserver.engines.request import HEALTH_PATH
from wsserver.lifetime.presencenotes import Beat, Bye, MembersHere, pack, unpack
from wsserver.lifetime.sharedpresence import SharedPresence
from wsserver.operations.port.app import READINESS, port_app
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

PLACES = [f"redis://host-{number}:6379/0" for number in range(5)]
NAMES = [f"room-{number}" for number in range(2000)]


def homes(places):
    return {name: places[place_of(ROOM, name, places)] for name in NAMES}


def test_groups_are_spread_evenly_and_the_order_of_places_says_nothing():
    found = homes(PLACES)
    counts = [list(found.values()).count(place) for place in PLACES]
    assert min(counts) > 0.8 * len(NAMES) / len(PLACES)
    assert found == homes(PLACES[::-1])
    assert any(place_of(ROOM, name, PLACES) != place_of(SESSION, name, PLACES) for name in NAMES)


def test_with_one_more_only_those_move_that_move_there():
    before, after = homes(PLACES[:4]), homes(PLACES)
    moved = {name for name in NAMES if before[name] != after[name]}
    assert {after[name] for name in moved} == {PLACES[4]}
    assert len(moved) < 1.2 * len(NAMES) / 5


def test_one_redis_is_given_once_and_each_has_its_part_of_the_memory():
    target, other = read_target("redis://host"), read_target("redis://user:word@host:6379/0")
    with pytest.raises(ConfigError, match="redis://host:6379/0 is given twice"):
        ServerSettings(broker=(target, other))
    ServerSettings(broker=tuple(read_target(f"unix:///redis.sock?db={number}") for number in range(2)))
    limits = RecoveryLimits(size=1000, memory=1999)
    ServerSettings(broker=target, recovery=limits)
    with pytest.raises(ConfigError, match="--recovery-memory"):
        ServerSettings(broker=(target, read_target("redis://two")), recovery=limits)
    assert RecoveryLimits(size=10, memory=1000).shared_by(4).memory == 250


class World:
    """Two servers that were given the same two Redis, in another order each."""

    def __init__(self, brokers, servers) -> None:
        self.brokers = brokers
        self.servers = servers

    def name_at(self, index, kind=ROOM, stem="hall"):
        """Return the name of a group that lives in one of the two."""
        places = [f"redis://127.0.0.1:{redis.port}/0" for redis in self.brokers]
        names = (f"{stem}-{number}" for number in range(100))
        group = (lambda name: user_group_name(name, is_guest=False)) if kind == USER else str
        return next(name for name in names if place_of(kind, group(name), places) == index)

    async def lose(self, index):
        self.brokers[index].kill()
        while any(server.is_ready for server in self.servers):
            await asyncio.sleep(0.01)


async def health(server):
    async with httpx.AsyncClient() as client:
        answer = await client.get("http://" + server.url.split("/")[2] + HEALTH_PATH)
    return answer.status_code, answer.text


async def readiness(server):
    way = httpx.ASGITransport(port_app(server.operations, (), EventLog()))
    async with httpx.AsyncClient(transport=way, base_url="http://ops") as client:
        answer = await client.get(READINESS)
    return answer.status_code, answer.text


@pytest.fixture
async def world(start_redis, start_server, jwt_key):
    brokers = [start_redis(), start_redis()]
    targets = tuple(read_target(redis.url) for redis in brokers)
    settings = {"broker_prefix": "t:", "jwt_key": jwt_key}
    return World(brokers, [await start_server(broker=given, **settings) for given in (targets, targets[::-1])])


async def join(client, room, *, presence=False):
    await client.send("room.join", {"room": room, "presence": presence}, id=room)
    return (await client.receive_type("room.joined"))["data"]


async def test_both_carry_their_groups_between_servers_whatever_the_order_they_are_given_in(world, open_raw):
    first, second = world.servers
    rooms = [world.name_at(0), world.name_at(1)]
    here, there = await open_raw(first.url, session="s"), await open_raw(second.url, session="s")
    for client in (here, there):
        for room in rooms:
            await join(client, room)
    for turn, hub in enumerate((first.hub, second.hub), 1):
        for room in rooms:
            assert (await hub.published("news", turn, room=room)).seq == turn
            assert [(await client.receive_type("news"))["data"] for client in (here, there)] == [turn, turn]
    for redis, room, other in zip(world.brokers, rooms, rooms[::-1], strict=True):
        with redis.client as client:
            assert client.exists(f"t:{{r:{room}}}:log") == 1
            assert client.exists(f"t:{{r:{other}}}:log") == 0
    assert [message.data for message in await second.hub.history(room=rooms[1])] == [1, 2]
    assert first.hub.send(there.greeting["data"]["connectionId"], "note", 7)
    assert (await there.receive_type("note"))["data"] == 7


@pytest.mark.parametrize("lost", [0, 1])
async def test_one_that_is_away_concerns_its_groups_alone(world, open_raw, user_token, lost):
    first, second = world.servers
    dead, alive = world.name_at(lost), world.name_at(1 - lost)
    session = world.name_at(1 - lost, SESSION, "s")
    users = [world.name_at(1 - lost, USER, stem) for stem in ("alice", "bob", "carol")]
    here, there = [
        await open_raw(server.url, session=session, token=user_token(user))
        for server, user in zip(world.servers, users, strict=False)
    ]
    for client in (here, there):
        await join(client, dead)
        await join(client, alive, presence=True)
    await world.lose(lost)
    number = {id(first): lost + 1, id(second): 2 - lost}
    for server in world.servers:
        assert await health(server) == (503, f"not reached: broker {number[id(server)]} of 2\n")
        assert await readiness(server) == (503, f"not ready: not reached: broker {number[id(server)]} of 2\n")
        for index, redis in enumerate(world.brokers):
            place = f"redis://127.0.0.1:{redis.port}/0"
            assert server.metrics.value("wsctl_broker_reached", broker=place) == (index != lost)
    for turn, hub in enumerate((first.hub, second.hub), 1):
        assert (await hub.published("news", turn, room=alive)).seq == turn
        assert [(await client.receive_type("news"))["data"] for client in (here, there)] == [turn, turn]
        assert set(await hub.members(alive)) == set(users[:2])
        with pytest.raises(NotPublishedError):
            await hub.members(dead)
    assert first.hub.send(there.greeting["data"]["connectionId"], "note", 7)
    assert (await there.receive_type("note"))["data"] == 7
    comes = await open_raw(second.url, session=session, token=user_token(users[2]))
    assert len((await join(comes, alive, presence=True))["members"]) == 3
    await first.hub.revoke(Revocation(user_id=users[2]))  # the other one has it, and every server asks that
    assert (await comes.received_until_closed())[1] == 4001
    world.brokers[lost].start()
    while not all(server.is_ready for server in world.servers):
        await asyncio.sleep(0.01)
    assert (await there.receive_type("recovery"))["data"]["recovered"] is False  # it has kept nothing
    assert (await second.hub.published("news", 3, room=dead)).seq == 1
    assert (await here.receive_type("news"))["data"] == 3
    async with asyncio.timeout(HANG_S):
        with world.brokers[lost].client as client:
            while client.zcard("t:{revoked}:order") != 1:  # written back by who knows it
                await asyncio.sleep(0.05)


async def test_with_all_of_them_away_nothing_is_revoked(world):
    for redis in world.brokers:
        redis.kill()
    server = world.servers[0]
    while await health(server) != (503, "not reached: broker 1, 2 of 2\n"):
        await asyncio.sleep(0.01)
    assert await readiness(server) == (503, "not ready: not reached: broker 1, 2 of 2\n")
    with pytest.raises(NotRevokedError, match="nothing was revoked"):
        await server.hub.revoke(Revocation(user_id="alice"))


async def test_a_start_without_one_of_them_names_it(start_redis, start_server, monkeypatch):
    monkeypatch.setattr(redis_broker, "START_S", 0.3)
    there, away = start_redis(), start_redis()
    away.kill()
    with pytest.raises(BrokerUnreachableError, match=f"redis://127.0.0.1:{away.port}/0: "):
        await start_server(broker=(read_target(there.url), read_target(away.url)))


async def test_what_comes_over_several_ways_counts_once():
    told = []
    broker = SimpleNamespace(
        process="own",
        attach_peers=lambda peers: None,
        tell=lambda note, **options: told.append((unpack(note), options)) or True,
    )
    local = SimpleNamespace(moved_elsewhere=lambda *change: None, tell_all=lambda room: None)
    options = {"call_later": lambda *call: SimpleNamespace(cancel=lambda: None), "now_s": lambda: 0.0}
    peers = SharedPresence(broker, local, Metrics(), free=lambda: 1 << 20, **options)
    waiting = asyncio.ensure_future(peers.ready("hall"))
    await asyncio.sleep(0)
    question, options = told[0]
    options["reached"](2)
    peers.take(pack(question))
    peers.take(pack(MembersHere("other", question.number, "hall", 1, ["bob"])))
    await waiting
    for number in range(1, 4):
        for _ in range(5):
            peers.take(pack(Beat("own", number)))
    assert peers.users("hall") == {"bob": 1}
    peers.take(pack(Beat("own", 4)))
    assert peers.users("hall") == {}
    used = peers.used
    peers.take(pack(Bye("gone", {"hall": ["carol"]})))
    once = peers.used
    peers.take(pack(Bye("gone", {"hall": ["carol"]})))
    assert peers.used == once > used

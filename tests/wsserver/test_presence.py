"""Presence: who is in a room, gathered, by user and not by connection, and without flicker."""

from __future__ import annotations

import pytest

from tests.wsserver.roomhouse import House
from wscore.rooms import RoomAccess
from wsserver import App, RoomLimits
from wsserver.connections.rooms import RoomLimitError
from wsserver.connections.state import Connection
from wsserver.lifetime import presence
from wsserver.lifetime.presence import GATHER_S, LINGER_S, MAX_LISTED


@pytest.fixture
def house() -> House:
    return House()


def events(connection: Connection) -> list[tuple[set[str], set[str], int]]:
    """Return the presence events that came since this was asked last."""
    written, connection.channel.written = connection.channel.written, []
    data = [envelope["data"] for envelope in written if envelope["type"] == "presence"]
    assert all(len(set(event["joined"])) == len(event["joined"]) for event in data)
    return [(set(event["joined"]), set(event["left"]), event["count"]) for event in data]


def joined(connection: Connection) -> dict:
    return connection.channel.written[0]["data"]


def test_who_asks_is_told_who_is_there_and_how_many_and_nobody_else_is(house):
    a = house.join("alice")
    b = house.join("bob", watching=True)
    assert joined(a) == {"room": "hall"}
    assert joined(b) == {"room": "hall", "members": ["alice", "bob"], "memberCount": 2}
    house.join("carol")
    house.pass_time(GATHER_S)
    assert events(b) == [({"carol"}, set(), 3)]
    assert events(a) == []


def test_changes_are_gathered_for_250_ms_and_told_at_once(house):
    watcher = house.join("watcher", watching=True)
    house.pass_time(1)
    first = house.join("u0")
    house.pass_time(0.2)
    for n in range(1, 50):
        house.join(f"u{n}")
    house.rooms.leave(first, "hall")
    assert events(watcher) == []
    house.pass_time(0.05)
    assert events(watcher) == [({f"u{n}" for n in range(1, 50)}, set(), 50)]
    house.pass_time(10)
    assert events(watcher) == []


def test_a_joiner_is_told_of_those_who_come_after_it_and_never_of_itself_or_of_whom_it_was_told(house):
    a = house.join("a", watching=True)
    house.join("b")
    c = house.join("c", watching=True)
    assert joined(c)["members"] == ["a", "b", "c"]
    house.join("d")
    e = house.join("e", watching=True)
    house.pass_time(GATHER_S)
    assert events(a) == [({"b", "c", "d", "e"}, set(), 5)]
    assert events(c) == [({"d", "e"}, set(), 5)]
    assert events(e) == []
    house.join("f")
    house.pass_time(GATHER_S)
    assert events(a) == events(c) == events(e) == [({"f"}, set(), 6)]


def test_presence_is_by_user_and_not_by_connection(house):
    watcher = house.join("watcher", watching=True)
    first, second = house.join("u"), house.join("u")
    house.pass_time(GATHER_S)
    assert events(watcher) == [({"u"}, set(), 2)]
    house.rooms.leave(first, "hall")
    house.pass_time(10)
    assert events(watcher) == []
    house.rooms.leave(second, "hall")
    house.pass_time(GATHER_S)
    assert events(watcher) == [(set(), {"u"}, 1)]


def test_who_leaves_goes_at_once_and_a_lost_connection_after_5_s(house):
    watcher = house.join("watcher", watching=True)
    leaver, lost = house.join("leaver"), house.join("lost")
    house.pass_time(1)
    events(watcher)
    house.rooms.leave(leaver, "hall")
    house.lose(lost)
    house.pass_time(GATHER_S)
    assert events(watcher) == [(set(), {"leaver"}, 2)]
    assert house.watch.here("hall") == ["watcher", "lost"]
    house.pass_time(LINGER_S - GATHER_S - 0.01)
    assert events(watcher) == []
    house.pass_time(0.01 + GATHER_S)
    assert events(watcher) == [(set(), {"lost"}, 1)]
    assert house.watch.here("hall") == ["watcher"]


def test_a_reconnect_within_5_s_is_no_flicker_however_often(house):
    watcher = house.join("watcher", watching=True)
    connection = house.join("u")
    house.pass_time(1)
    events(watcher)
    for _ in range(5):
        house.lose(connection)
        house.pass_time(3)  # a loss of before must not end this one early
        connection = house.join("u")
        house.pass_time(1)
    assert events(watcher) == []
    house.lose(connection)
    house.pass_time(LINGER_S + GATHER_S)
    assert events(watcher) == [(set(), {"u"}, 1)]


def test_a_watcher_that_reconnects_finds_those_who_were_lost_with_it(house):
    watcher, other = house.join("watcher", watching=True), house.join("other")
    house.pass_time(1)
    for connection in (watcher, other):
        house.lose(connection)
    house.pass_time(2)
    again = house.join("watcher", watching=True)
    assert joined(again)["members"] == ["watcher", "other"]
    house.join("other")
    house.pass_time(10)
    assert events(again) == []


def test_above_1000_members_only_numbers_are_told(house):
    watcher = house.join("watcher", watching=True)
    members = [house.join(f"u{n}") for n in range(MAX_LISTED)]
    late = house.join("late", watching=True)
    assert joined(late) == {"room": "hall", "memberCount": MAX_LISTED + 2}
    house.pass_time(GATHER_S)
    assert events(watcher) == [(set(), set(), MAX_LISTED + 2)]
    events(late)
    for member in members[:10]:
        house.rooms.leave(member, "hall")
    house.pass_time(GATHER_S)
    expected = (set(), {f"u{n}" for n in range(10)}, MAX_LISTED - 8)
    assert events(watcher) == events(late) == [expected]


def test_who_left_the_room_is_told_nothing_more_and_what_was_kept_is_forgotten(house):
    watcher, other = house.join("watcher", watching=True), house.join("other", watching=True)
    house.pass_time(1)
    events(watcher)
    house.rooms.leave(watcher, "hall")
    house.pass_time(1)
    assert events(watcher) == []
    assert house.watch.used > 0
    house.lose(other)
    house.pass_time(LINGER_S + GATHER_S)
    assert house.watch.used == house.rooms.used == 0
    assert house.watch.here("hall") == []
    assert house.timers == []


def test_a_storm_of_joiners_who_all_ask_costs_no_more_than_what_they_are_told(house):
    everyone = [house.join(f"u{n}", watching=True) for n in range(300)]
    house.pass_time(GATHER_S)
    for n, connection in enumerate(everyone):
        expected = {f"u{later}" for later in range(n + 1, 300)}
        assert events(connection) == ([(expected, set(), 300)] if expected else [])


def test_what_watching_takes_counts_against_the_memory_of_rooms():
    house = House(RoomLimits(in_all=4000))
    plain = house.join("alice")
    for n in range(50):
        try:
            house.join(f"u{n}")
        except RoomLimitError:
            break
    assert house.rooms.used <= 4000
    with pytest.raises(RoomLimitError):
        house.rooms.confirm(plain, "hall", presence=True)
    assert house.watch.used == 0


async def test_over_sockets_members_see_each_other_come_and_go(
    start_server, open_raw, user_token, jwt_key, engine, monkeypatch
):
    monkeypatch.setattr(presence, "LINGER_S", 0.3)
    server = await start_server(jwt_key=jwt_key, engine=engine)
    alice = await open_raw(server.url, token=user_token("alice"))
    await alice.send("room.join", {"room": "hall", "presence": True}, id="j")
    answer = await alice.receive()
    del answer["data"]["recovery"]
    assert answer["data"] == {"room": "hall", "members": ["alice"], "memberCount": 1}
    bob = await open_raw(server.url, token=user_token("bob"))
    await bob.send("room.join", {"room": "hall"})
    event = await alice.receive()
    assert (event["type"], event["data"]) == ("presence", {"room": "hall", "joined": ["bob"], "left": [], "count": 2})
    assert event.keys() == {"type", "timestamp", "data"}
    assert await server.hub.members("hall") == ["alice", "bob"]
    await bob.send("room.join", {"room": "hall", "presence": True})  # a member asks later
    while (answer := await bob.receive())["data"].get("members") is None:
        pass
    assert answer["data"]["members"] == ["alice", "bob"]
    await alice.send("room.leave", {"room": "hall"})
    assert (await bob.receive())["data"]["left"] == ["alice"]
    carol = await open_raw(server.url, token=user_token("carol"))
    await carol.send("room.join", {"room": "hall"})
    assert (await bob.receive())["data"]["joined"] == ["carol"]
    await carol.ws.close()
    assert (await bob.receive())["data"]["left"] == ["carol"]


async def test_the_hub_knows_the_members_of_any_room(start_server, open_raw, user_token, jwt_key):
    server = await start_server(App(), jwt_key=jwt_key)
    for user in ("alice", "bob", "alice"):
        client = await open_raw(server.url, token=user_token(user))
        await client.send("room.join", {"room": "hall"})
        await client.receive()
    assert await server.hub.members("hall") == ["alice", "bob"]
    assert await server.hub.members("elsewhere") == []


def test_who_joins_and_leaves_all_the_time_leaves_nothing_behind(house):
    connection, other = house.connect("u"), house.join("other")
    for _ in range(1000):
        house.rooms.join(connection, "hall", RoomAccess.PUBLISH, presence=True)
        house.rooms.join(connection, "own", RoomAccess.PUBLISH, presence=True)
        for room in ("hall", "own"):
            house.rooms.leave(connection, room)
    assert house.watch.here("own") == []
    assert len(house.timers) < 10
    house.pass_time(LINGER_S)
    assert house.watch.used == 0
    house.rooms.leave(other, "hall")
    assert house.rooms.used == 0

"""A client comes back to its session and its rooms where it was: nothing twice, nothing missing without a word."""

from __future__ import annotations

import asyncio

import pytest

from tests.relay import Relay
from wsclient import (
    Closed,
    Doubled,
    Gap,
    GroupEvent,
    InvalidMessageError,
    Lost,
    Opened,
    Received,
    ReconnectPolicy,
    Resumed,
    RoomRefused,
    ServerError,
    StaticToken,
)
from wscore.errors import ConfigError
from wscore.recovery import RecoveryLimits
from wscore.wallclock import now_ms
from wsserver import GuestMode, Profile

HANG_S = 20
AT_ONCE = ReconnectPolicy(base_ms=1, cap_ms=20)


async def read(client, *wanted):
    """Take notes until all of these were read, in this order, each once."""
    async with asyncio.timeout(HANG_S):
        for number in wanted:
            assert (await client.expect("note", int)) == number


def kinds(events) -> list[str]:
    return [type(event).__name__ for event in events.of(GroupEvent)]


async def test_who_was_cut_off_gets_what_it_missed_of_its_session_and_its_rooms(
    start_server, make_client, record, engine
):
    server = await start_server(engine=engine)
    async with Relay(server.url) as relay:
        client = make_client(relay.url, session_id="lobby", reconnect=AT_ONCE)
        events = record(client)
        await client.connect()
        await client.join("hall")
        server.hub.publish("note", 1, session="lobby")
        server.hub.publish("note", 2, room="hall")
        await read(client, 1, 2)

        await relay.cut()
        await events.next(Closed)
        for number in (3, 4):
            server.hub.publish("note", number, session="lobby")
        server.hub.publish("note", 5, room="hall")
        said_ms = now_ms()
        while now_ms() == said_ms:  # of the same millisecond as the greeting it would count as new
            await asyncio.sleep(0)
        relay.mend()
        await read(client, 3, 4, 5)
        server.hub.publish("note", 6, room="hall")
        await read(client, 6)

        assert kinds(events) == ["Resumed", "Replayed", "Resumed", "Replayed"]
        session, first, room, second = events.of(GroupEvent)
        assert (session.room, session.seq, first.room, first.count) == (None, 1, None, 2)
        assert (room.room, room.seq, second.room, second.count) == ("hall", 1, "hall", 1)
        assert client.rooms == ("hall",)


async def test_a_server_that_has_started_anew_is_told_of_as_a_loss(start_server, make_client, record, engine):
    server = await start_server(engine=engine)
    async with Relay(server.url) as relay:
        client = make_client(relay.url, session_id="lobby", rooms=["hall"], reconnect=AT_ONCE)
        events = record(client)
        await client.connect()
        await events.next(Opened)
        server.hub.publish("note", 1, session="lobby")
        await read(client, 1)
        await relay.cut()
        await events.next(Closed)
        relay.target = (await start_server(engine=engine)).url
        relay.mend()
        assert (await events.next(Lost)).room is None
        lost = await events.next(Lost)
        assert lost.room == "hall"
        assert kinds(events) == ["Lost", "Lost"]


async def test_what_is_beyond_the_window_is_lost_as_a_whole(start_server, make_client, record):
    server = await start_server(recovery=RecoveryLimits(messages=2))
    async with Relay(server.url) as relay:
        client = make_client(relay.url, session_id="lobby", reconnect=AT_ONCE)
        events = record(client)
        await client.connect()
        await relay.cut()
        await events.next(Closed)
        for number in range(5):
            server.hub.publish("note", number, session="lobby")
        relay.mend()
        assert (await events.next(Lost)).seq == 5
        server.hub.publish("note", 6, session="lobby")
        await read(client, 6)
        assert kinds(events) == ["Lost"]


async def test_what_was_left_is_not_joined_again(start_server, make_client, record):
    server = await start_server()
    async with Relay(server.url) as relay:
        client = make_client(relay.url, session_id="lobby", rooms=["hall", "attic"], reconnect=AT_ONCE)
        events = record(client)
        await client.connect()
        await client.leave("hall")
        assert client.rooms == ("attic",)
        await relay.cut()
        await events.next(Closed)
        relay.mend()
        while (await events.next(Resumed)).room is None:
            pass
        joined = [event.envelope.data for event in events.of(Received) if event.envelope.type == "room.joined"]
        assert [b"attic" in bytes(data) for data in joined] == [False, True, True]


async def test_a_room_that_lets_nobody_in_is_an_event_and_an_error(
    start_server, make_client, record, jwt_key, user_token
):
    server = await start_server(profile=Profile.PROD, guests=GuestMode.OFF, jwt_key=jwt_key)
    token = StaticToken(user_token(rooms=["hall"]))
    client = make_client(server.url, token=token, rooms=["attic", "hall"])
    events = record(client)
    await client.connect()
    refused = await events.next(RoomRefused)
    assert (refused.room, refused.code) == ("attic", "FORBIDDEN")
    with pytest.raises(ServerError, match="FORBIDDEN"):
        await client.join("cellar")
    await client.send("message", "hi", room="hall")
    assert (await client.receive("message", timeout_s=HANG_S)).room == "hall"
    assert client.rooms == ("hall",)


def test_a_name_that_no_room_can_have_is_refused_at_once(make_client):
    with pytest.raises(ConfigError, match="no name of a room"):
        make_client("ws://127.0.0.1:1/socket.io/", rooms=["a b"])


STANDS = {"epoch": "e1", "resumeToken": "c-1.mac"}


async def test_doubles_are_dropped_and_skipped_shows_nothing(faults, make_client, record):
    async def script(peer):
        await peer.greet(recovery={**STANDS, "seq": 0})
        await peer.send("note", 1, seq=1)
        await peer.send("note", 1, seq=1)
        await peer.send("skipped", seq=2)
        await peer.send("note", 3, seq=3)
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)
    events = record(client)
    await client.connect()
    await read(client, 1, 3)
    assert events.of(GroupEvent) == [Doubled(None, 1)]
    shown = [event.envelope.type for event in events.of(Received)]
    assert shown == ["session_created", "note", "note"]


async def test_a_gap_in_the_session_is_closed_by_coming_back(faults, make_client, record):
    async def leaps(peer):
        await peer.greet(recovery={**STANDS, "seq": 4})
        await peer.send("note", 5, seq=5)
        await peer.send("note", 7, seq=7)
        await peer.stay()

    async def replays(peer):
        assert peer.query["epoch"] == ["e1"]
        assert peer.query["seq"] == ["5"]
        assert peer.query["resume"] == ["c-1.mac"]
        assert peer.session == "room"
        await peer.greet(recovery={**STANDS, "seq": 5, "recovered": True})
        await peer.send("note", 6, seq=6)
        await peer.send("note", 7, seq=7)
        await peer.stay()

    server = await faults(leaps, replays)
    client = make_client(server.url, reconnect=AT_ONCE)
    events = record(client)
    await client.connect()
    await read(client, 5, 6, 7)
    assert events.of(GroupEvent) == [Gap(None, 6, 6), Resumed(None, "e1", 5)]


async def test_a_gap_that_does_not_close_is_a_loss_and_no_endless_circle(faults, make_client, record):
    async def leaps(peer):
        recovered = {} if "epoch" not in peer.query else {"recovered": True}
        await peer.greet(recovery={**STANDS, "seq": 0, **recovered})
        await peer.send("note", 3, seq=3)
        await peer.stay()

    server = await faults(leaps)
    client = make_client(server.url, reconnect=AT_ONCE)
    events = record(client)
    await client.connect()
    await read(client, 3)
    assert events.of(GroupEvent) == [Gap(None, 1, 2), Resumed(None, "e1", 0), Lost(None, "e1", 3)]
    assert len(server.tokens) == 2


async def test_without_coming_back_a_gap_is_a_loss(faults, make_client, record):
    async def leaps(peer):
        await peer.greet(recovery={**STANDS, "seq": 0})
        await peer.send("note", 3, seq=3)
        await peer.stay()

    server = await faults(leaps)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    await client.connect()
    await read(client, 3)
    assert events.of(GroupEvent) == [Lost(None, "e1", 3)]


async def test_a_gap_in_a_room_is_closed_by_leaving_and_joining_it(faults, make_client, record):
    asked = []

    async def script(peer):
        await peer.greet(recovery={**STANDS, "seq": 0})
        asked.append(await peer.receive())
        await peer.send("room.joined", {"room": "hall", "recovery": {"epoch": "r", "seq": 8}}, id=asked[0]["id"])
        await peer.send("note", 10, seq=10, room="hall")
        await peer.send("note", 11, seq=11, room="hall")  # on its way when the gap was seen
        asked.extend([await peer.receive(), await peer.receive()])
        await peer.send("room.left", {"room": "hall"}, id=asked[1]["id"])
        stands = {"epoch": "r", "seq": 8, "recovered": True}
        await peer.send("room.joined", {"room": "hall", "recovery": stands}, id=asked[2]["id"])
        for number in (9, 10, 11):
            await peer.send("note", number, seq=number, room="hall")
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url, rooms=["hall"])
    events = record(client)
    await client.connect()
    await read(client, 9, 10, 11)
    assert [envelope["type"] for envelope in asked] == ["room.join", "room.leave", "room.join"]
    assert asked[2]["data"] == {"room": "hall", "recovery": {"epoch": "r", "seq": 8}}
    assert events.of(GroupEvent) == [Gap("hall", 9, 9), Resumed("hall", "r", 8)]
    assert len(server.tokens) == 1


async def test_history_that_is_lost_in_mid_stream_is_told(faults, make_client, record):
    async def script(peer):
        await peer.greet(recovery={**STANDS, "seq": 4})
        await peer.send("recovery", {"epoch": "e2", "seq": 0, "recovered": False})
        await peer.send("note", 1, seq=1)
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)
    events = record(client)
    await client.connect()
    await read(client, 1)
    assert events.of(GroupEvent) == [Lost(None, "e2", 0)]


async def test_a_server_without_history_is_asked_for_none(faults, make_client, record):
    async def cuts(peer):
        await peer.greet()
        peer.abort()

    async def stays(peer):
        assert not {"epoch", "seq", "resume"} & peer.query.keys()
        await peer.greet()
        await peer.send("note", 1)
        await peer.stay()

    server = await faults(cuts, stays)
    client = make_client(server.url, reconnect=AT_ONCE)
    events = record(client)
    await client.connect()
    await read(client, 1)
    assert events.of(GroupEvent) == []


async def test_a_server_of_another_make_is_sent_no_join(faults, make_client):
    got = []

    async def script(peer):
        await peer.raw("hello")
        got.append(await peer.receive())
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url.replace("/socket.io/", "/chat"), rooms=["hall"])
    await client.connect()
    with pytest.raises(InvalidMessageError, match="not known to be one of wsctl"):
        await client.join("attic")
    await client.send_raw('{"first": true}')
    while not got:
        await asyncio.sleep(0)
    assert got == [{"first": True}]

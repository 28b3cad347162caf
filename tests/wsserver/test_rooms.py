"""Rooms over real sockets: joining, sending and leaving, and who may."""

from __future__ import annotations

import asyncio

import pytest

from wscore.ratelimit import Rate
from wsserver import (
    App,
    Context,
    GuestMode,
    Profile,
    RatePolicy,
    RoomLimitError,
    RoomLimits,
    UnsendableError,
    fan_out,
)


async def join(client, room: str, **fields: object) -> dict:
    """Ask to join a room, and return the answer."""
    await client.send("room.join", {"room": room}, **fields)
    return await client.receive()


async def nothing_more(client) -> None:
    """Check that nothing came before the answer to a ping."""
    await client.send("ping", {"timestamp": 1})
    assert (await client.receive())["type"] == "pong"


async def test_a_message_for_a_room_reaches_its_members_the_sender_included_and_nobody_else(
    start_server, open_raw, engine
):
    server = await start_server(engine=engine)
    a, b, c = [await open_raw(server.url) for _ in range(3)]
    joined = await join(a, "kitchen", id="j1")
    assert (joined["type"], joined["id"], joined["data"]["room"]) == ("room.joined", "j1", "kitchen")
    await join(b, "kitchen")
    await a.ws.send('{"type":"message","timestamp":1,"room":"kitchen","id":"m1","data":{"n": 1.50}}')
    raw = [await peer.ws.recv() for peer in (a, b)]
    assert raw[0] == raw[1]
    assert '"data":{"n": 1.50},"room":"kitchen"' in raw[0]  # byte for byte
    assert "sessionId" not in raw[0]
    assert '"id"' not in raw[0]
    assert f'"userId":"{a.greeting["data"]["userId"]}"' in raw[0]
    await nothing_more(c)


async def test_a_connection_is_in_many_rooms_and_each_message_names_the_one_it_came_by(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url), await open_raw(server.url)
    for room in ("r1", "r2", "r3"):
        await join(a, room)
    await join(b, "r2")
    for room in ("r1", "r2", "r3"):
        await a.send("message", room, room=room)
    assert [(await a.receive())["room"] for _ in range(3)] == ["r1", "r2", "r3"]
    assert (await b.receive())["room"] == "r2"
    await nothing_more(b)


async def test_who_left_gets_what_was_sent_before_and_nothing_after(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url), await open_raw(server.url)
    for client in (a, b):
        await join(client, "kitchen")
    for n in range(5):
        await a.send("message", n, room="kitchen")
    await a.send("room.leave", {"room": "kitchen"}, id="l1")
    await a.send("message", "too late", room="kitchen", id="m2")
    got = [await a.receive() for _ in range(7)]
    assert [envelope["data"] for envelope in got[:5]] == list(range(5))
    assert (got[5]["type"], got[5]["id"], got[5]["data"]) == ("room.left", "l1", {"room": "kitchen"})
    assert (got[6]["type"], got[6]["id"], got[6]["data"]["code"]) == ("error", "m2", "FORBIDDEN")
    assert [(await b.receive())["data"] for _ in range(5)] == list(range(5))
    await nothing_more(b)


async def test_joining_twice_and_leaving_what_was_not_joined_are_answered_and_change_nothing(
    start_server, open_raw, engine
):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    assert [(await join(client, "a"))["type"] for _ in range(2)] == ["room.joined"] * 2
    await client.send("message", 1, room="a")
    assert (await client.receive())["data"] == 1
    await nothing_more(client)
    for _ in range(2):
        await client.send("room.leave", {"room": "a"})
        assert (await client.receive())["type"] == "room.left"
    assert server.metrics.value("wsctl_groups", kind="room") == server.metrics.value("wsctl_room_bytes") == 0


@pytest.mark.parametrize("type", ["message", "ping", "chat.say", "room.leave", "nobody.knows.it"])
async def test_any_envelope_with_a_room_from_outside_is_forbidden_before_its_handler(start_server, open_raw, type):
    called = []
    app = App()
    for known in ("message", "chat.say"):
        app.on(known)(lambda ctx: called.append(ctx.type))
    server = await start_server(app)
    outside, inside = await open_raw(server.url), await open_raw(server.url)
    await join(inside, "a")
    await outside.send(type, {"room": "a"}, room="a", id="x")
    error = await outside.receive()
    assert (error["type"], error["id"], error["data"]["code"]) == ("error", "x", "FORBIDDEN")
    assert error["data"]["retryable"] is False
    assert called == []


@pytest.mark.parametrize("name", ["", "a b", "a" * 129, "a\n", "*", "r*", "é"])
async def test_names_that_no_room_can_have_are_refused_with_the_place(start_server, open_raw, engine, name):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    for type in ("room.join", "room.leave"):
        await client.send(type, {"room": name}, id="x")
        error = await client.receive()
        assert (error["id"], error["data"]["code"]) == ("x", "INVALID_MESSAGE")
        assert "$.data.room" in error["data"]["message"]
    await client.send("message", 1, room=name)
    assert "$.room" in (await client.receive())["data"]["message"]
    for wrong in (None, {}, {"room": 7}, "a"):
        await client.send("room.join", wrong)
        assert (await client.receive())["data"]["code"] == "INVALID_MESSAGE"


async def test_a_room_too_many_is_forbidden_with_the_limit_until_one_is_left(start_server, open_raw, engine):
    server = await start_server(engine=engine, rooms=RoomLimits(per_connection=100))
    client = await open_raw(server.url)
    for n in range(100):
        assert (await join(client, f"r{n}"))["type"] == "room.joined"
    error = (await join(client, "r100", id="x"))["data"]
    assert (error["code"], error["details"]) == ("FORBIDDEN", {"limit": 100})
    assert (await join(client, "r5"))["type"] == "room.joined"  # it is in it
    await client.send("room.leave", {"room": "r7"})
    await client.receive()
    assert (await join(client, "r100"))["type"] == "room.joined"
    assert server.metrics.value("wsctl_groups", kind="room") == 100


async def test_with_no_rooms_at_all_none_can_be_joined(start_server, open_raw):
    server = await start_server(rooms=RoomLimits(per_connection=0))
    assert (await join(await open_raw(server.url), "a"))["data"]["details"] == {"limit": 0}


async def test_memberships_of_all_connections_stay_under_their_limit_and_whoever_leaves_makes_room(
    start_server, open_raw, engine
):
    server = await start_server(engine=engine, rooms=RoomLimits(in_all=50_000))
    clients = [await open_raw(server.url) for _ in range(3)]
    refused = 0
    for number, client in enumerate(clients):
        for n in range(100):
            answer = await join(client, f"{number}.{n}")
            if answer["type"] == "error":
                assert (answer["data"]["code"], answer["data"]["retryable"]) == ("PROCESSING_ERROR", True)
                refused += 1
    used = server.metrics.value("wsctl_room_bytes")
    assert 0 < used <= 50_000
    assert refused == 300 - server.metrics.value("wsctl_groups", kind="room") > 0
    await clients[0].ws.close()
    while server.metrics.value("wsctl_room_bytes") == used:
        await asyncio.sleep(0)
    assert (await join(clients[2], "2.99"))["type"] == "room.joined"


async def test_rooms_end_with_their_last_connection(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url), await open_raw(server.url)
    for client in (a, b):
        await join(client, "both")
    await join(a, "alone")
    assert server.metrics.value("wsctl_groups", kind="room") == 2
    await a.ws.close()
    while server.metrics.value("wsctl_groups", kind="room") == 2:
        await asyncio.sleep(0)
    await b.send("message", 1, room="both")
    assert (await b.receive())["data"] == 1
    await b.ws.close()
    while server.metrics.value("wsctl_groups", kind="room"):
        await asyncio.sleep(0)
    assert server.metrics.value("wsctl_room_bytes") == 0


async def test_messages_behind_a_join_that_waits_are_handled_after_it_in_order(start_server, open_raw, engine):
    may_go = asyncio.Event()
    app = App()
    app.on("message")(fan_out)

    @app.on_join("slow")
    async def slow(ctx: Context, room: str) -> bool:
        await may_go.wait()
        return True

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("room.join", {"room": "slow"})
    await client.send("message", 1, room="slow")
    await client.send("message", 2)
    await client.send("message", 3, room="slow")
    await client.send("room.leave", {"room": "slow"})
    await client.send("message", 4, room="slow")
    await nothing_more(client)  # a ping does not wait
    may_go.set()
    got = [await client.receive() for _ in range(6)]
    assert [envelope["type"] for envelope in got if envelope["type"] != "message"] == [
        "room.joined",
        "room.left",
        "error",
    ]
    assert got[0]["type"] == "room.joined"
    by_room = [envelope["data"] for envelope in got if envelope.get("room") == "slow"]
    assert by_room == [1, 3]


async def test_a_client_that_goes_while_its_join_waits_is_no_member(start_server, open_raw, engine):
    asked, may_go = asyncio.Event(), asyncio.Event()
    app = App()

    @app.on_join("slow")
    async def slow(ctx: Context, room: str) -> bool:
        asked.set()
        try:
            await may_go.wait()
        except asyncio.CancelledError:
            may_go.set()  # an app may swallow it
        return True

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("room.join", {"room": "slow"})
    await asked.wait()
    await client.ws.close()
    await may_go.wait()
    other = await open_raw(server.url)
    await nothing_more(other)
    assert server.metrics.value("wsctl_groups", kind="room") == 0


async def test_an_app_joins_publishes_and_leaves_for_its_clients(start_server, open_raw, engine):
    app = App()

    @app.on("enter")
    def enter(ctx: Context, room: str) -> None:
        assert ctx.join(room)
        assert ctx.join(room)  # once more says nothing
        ctx.publish("entered", room, room=room)

    @app.on("say")
    def say(ctx: Context, text: str) -> None:
        ctx.publish("said", text)

    @app.on("others")
    def others(ctx: Context) -> None:
        ctx.publish("for the others".replace(" ", "."), 1, except_connection=ctx.connection_id)
        ctx.publish("for.all", 2)

    @app.on("exit")
    def leave(ctx: Context, room: str) -> None:
        assert ctx.leave(room, "enough")
        assert not ctx.leave(room)

    server = await start_server(app, engine=engine, profile=Profile.PROD)
    a, b = await open_raw(server.url), await open_raw(server.url)
    for client in (a, b):
        await client.send("enter", "hall")
        assert (await client.receive())["type"] == "room.joined"
    assert [(await a.receive())["type"] for _ in range(2)] == ["entered"] * 2
    assert (await b.receive())["type"] == "entered"
    await a.send("say", "in the room", room="hall")
    await a.send("say", "in the session")
    assert {(await a.receive())["data"] for _ in range(2)} == {"in the room", "in the session"}
    said = await b.receive()
    assert (said["room"], said["data"]) == ("hall", "in the room")
    await a.send("others", room="hall")
    skipped = await a.receive()
    assert (skipped["type"], skipped["room"], skipped["seq"]) == ("skipped", "hall", 4)
    assert (await a.receive())["type"] == "for.all"
    assert [(await b.receive())["type"] for _ in range(2)] == ["for.the.others", "for.all"]
    await b.send("exit", "hall")
    assert (await b.receive())["data"] == {"room": "hall", "reason": "enough"}
    server.hub.publish("late", room="hall")
    assert (await a.receive())["type"] == "late"
    await nothing_more(b)


async def test_the_hub_reaches_rooms_and_all_connections_of_a_user(
    start_server, open_raw, user_token, jwt_key, guest_token, engine
):
    server = await start_server(jwt_key=jwt_key, engine=engine)
    hub = server.hub
    first, second = [await open_raw(server.url, token=user_token("alice")) for _ in range(2)]
    guest, bob = await open_raw(server.url), await open_raw(server.url, token=user_token("bob"))
    guest_id = guest.greeting["data"]["userId"]
    forger = await open_raw(server.url, token=user_token(guest_id))  # a token's user who is called like the guest
    hub.publish("note", 1, user="alice", user_id="app")
    third = await open_raw(server.url, token=user_token("alice"))  # the groups are there by now
    hub.publish("note", 2, user=server.connections.get(first.greeting["data"]["connectionId"]).principal)
    for client, expected in ((first, [1, 2]), (second, [1, 2]), (third, [2])):
        got = [await client.receive() for _ in expected]
        assert [envelope["data"] for envelope in got] == expected
        assert "sessionId" not in got[0]
        assert "room" not in got[0]
    hub.publish("note", 3, user=guest_id)
    assert (await guest.receive())["data"] == 3
    assert hub.join("club", user="alice") == 3
    assert hub.join("club", connection=bob.greeting["data"]["connectionId"]) == 1
    assert hub.join("club", connection="nobody") == hub.join("club", user="nobody") == 0
    await second.ws.close()
    for client in (first, third, bob):
        assert (await client.receive())["type"] == "room.joined"
    assert hub.leave("club", user="alice", reason="closed") >= 2
    assert (await third.receive())["data"] == {"room": "club", "reason": "closed"}
    hub.publish("note", 4, room="club")
    assert (await bob.receive())["data"] == 4
    for client in (forger, third):
        await nothing_more(client)


async def test_outside_dev_what_is_for_a_guest_goes_to_no_unsigned_one(start_server, open_raw):
    server = await start_server(profile=Profile.PROD, guests=GuestMode.UNSIGNED)
    guest = await open_raw(server.url)
    server.hub.publish("secret", user=guest.greeting["data"]["userId"])
    await nothing_more(guest)


async def test_what_cannot_be_published_or_joined_is_refused_at_the_call(start_server, open_raw):
    server = await start_server(rooms=RoomLimits(per_connection=1))
    hub = server.hub
    client = (await open_raw(server.url)).greeting["data"]["connectionId"]
    for target in ({}, {"room": "a", "session": "b"}, {"room": "a", "user": "b"}):
        with pytest.raises(TypeError):
            hub.publish("x", **target)
    for room in ("", "a b", "r*", 7):
        with pytest.raises(UnsendableError):
            hub.publish("x", room=room)
        with pytest.raises(UnsendableError):
            hub.join(room, connection=client)
    for who in ({}, {"connection": client, "user": "alice"}):
        with pytest.raises(TypeError):
            hub.join("a", **who)
    assert hub.join("a", connection=client) == 1
    with pytest.raises(RoomLimitError) as caught:
        hub.join("b", connection=client)
    assert caught.value.limit == 1
    for type in ("room.join", "room.joined", "room.left"):
        with pytest.raises(UnsendableError):
            hub.publish(type, room="a")


async def test_joins_within_one_turn_get_what_is_sent_after_them_and_replies_come_first(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url, session="s"), await open_raw(server.url, session="s")
    hub, b_id = server.hub, b.greeting["data"]["connectionId"]
    await join(a, "r")
    for n in range(3):  # all of it in one turn of the loop
        hub.publish("n", f"s{n}", session="s")
        hub.publish("n", n, room="r")
        if n == 0:
            hub.join("r", connection=b_id)
        if n == 1:
            hub.leave("r", connection=b_id, reason="why")
    got_a = [(await a.receive()) for _ in range(6)]
    assert [envelope["data"] for envelope in got_a if "room" in envelope] == [0, 1, 2]
    got_b = [(await b.receive()) for _ in range(6)]
    assert [envelope["data"] for envelope in got_b if envelope["type"] == "n" and "room" not in envelope] == [
        "s0",
        "s1",
        "s2",
    ]
    in_room = [
        envelope["type"] if envelope["type"] != "n" else envelope["data"]
        for envelope in got_b
        if "room" in envelope or envelope["type"] != "n"
    ]
    assert in_room == ["room.joined", 1, "room.left"]


async def test_joins_and_leaves_count_against_the_rate_like_all_messages(start_server, open_raw):
    server = await start_server(rates=RatePolicy(messages=Rate(1, 10), max_refused=5))
    client = await open_raw(server.url)
    for n in range(40):
        await client.send("room.join" if n % 2 == 0 else "room.leave", {"room": "a"})
    envelopes, code, _ = await client.received_until_closed()
    assert code == 1008
    assert [envelope["type"] for envelope in envelopes] == ["room.joined", "room.left"] * 5 + ["error"]

"""Rooms are resumed by `room.join`, what was left out is skipped, and an app sees what is kept."""

from __future__ import annotations

import asyncio

import pytest

from tests.wsserver.conftest import HANG_S
from wscore.recovery import REPLAY_BUDGET_BYTES, REPLAY_BUDGET_S, ReplayBudget
from wsserver import App, Clock, Context, OutboundLimits, RecoveryLimits, RoomLimits, UnsendableError


async def join(client, room: str, **fields: object) -> dict:
    await client.send("room.join", {"room": room, **fields})
    return (await client.receive_type("room.joined"))["data"]["recovery"]


async def test_a_room_counts_for_itself_and_says_where_it_stands(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    first = await join(client, "hall")
    assert first["seq"] == 0
    assert "recovered" not in first
    await client.send("message", 1, room="hall")
    await client.send("message", 2)
    by_room, by_session = await client.receive(), await client.receive()
    assert (by_room["room"], by_room["seq"]) == ("hall", 1)
    assert by_session["seq"] == 1
    assert (await join(await open_raw(server.url), "hall")) == {"epoch": first["epoch"], "seq": 1}


async def test_who_comes_back_to_a_room_gets_what_it_missed_right_behind_room_joined(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    stood = await join(client, "hall")
    await client.send("room.leave", {"room": "hall"})
    assert (await client.receive())["type"] == "room.left"
    for number in (1, 2):
        server.hub.publish("message", number, room="hall")  # which nobody is in
    recovery = await join(client, "hall", recovery=stood)
    assert recovery == {**stood, "recovered": True}
    server.hub.publish("message", 3, room="hall")
    received = [await client.receive() for _ in range(3)]
    assert [(envelope["seq"], envelope["data"], envelope["room"]) for envelope in received] == [
        (1, 1, "hall"),
        (2, 2, "hall"),
        (3, 3, "hall"),
    ]


@pytest.mark.parametrize(
    ("asked", "recovered"),
    [
        ({"epoch": "other", "seq": 0}, False),
        ({"seq": 99}, False),
        ({"seq": "x"}, False),
        ({"seq": None}, False),
        ({"epoch": {}}, False),
        (None, None),
        ("x", None),
        ([1], None),
        ({"epoch": ...}, None),
    ],
)
async def test_a_position_that_is_no_good_is_no_error(start_server, open_raw, asked, recovered):
    server = await start_server()
    client = await open_raw(server.url)
    stood = await join(client, "hall")
    await client.send("room.leave", {"room": "hall"})
    server.hub.publish("message", 1, room="hall")
    if isinstance(asked, dict):
        asked = {name: value for name, value in {**stood, **asked}.items() if value is not ...}
    answer = await join(client, "hall", recovery=asked)
    assert (answer.get("recovered"), answer["seq"]) == (recovered, 1)
    server.hub.publish("message", 2, room="hall")
    assert (await client.receive())["seq"] == 2  # nothing was replayed


async def test_joining_a_joined_room_again_tells_the_position_and_replays_nothing(start_server, open_raw, engine):
    app = App()

    @app.on("burst")
    def burst(ctx: Context) -> None:
        for number in range(3):
            ctx.publish("news", number, room="hall")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    stood = await join(client, "hall")
    await client.send("burst")
    await client.send("room.join", {"room": "hall", "recovery": stood})
    received = [await client.receive() for _ in range(4)]
    # The position is that of what came before, however much was still to be written.
    assert [envelope.get("seq") for envelope in received] == [1, 2, 3, None]
    assert received[3]["data"]["recovery"] == {**stood, "seq": 3, "recovered": False}
    assert await join(client, "hall", recovery={**stood, "seq": 3}) == {**stood, "seq": 3, "recovered": True}


async def test_a_room_that_the_app_puts_a_connection_into_tells_its_position(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    server.hub.publish("news", room="hall")
    server.hub.join("hall", connection=client.greeting["data"]["connectionId"])
    assert (await client.receive())["data"]["recovery"]["seq"] == 1


async def test_who_is_left_out_gets_skipped_live_and_when_it_comes_back(start_server, open_raw, guest_token, engine):
    app = App()

    @app.on("move")
    def move(ctx: Context, square: int) -> None:
        ctx.publish("moved", square, room="game", except_connection=ctx.connection_id)

    server = await start_server(app, engine=engine)
    token = guest_token()
    player, other = await open_raw(server.url, token=token), await open_raw(server.url)
    stood = await join(player, "game")
    await join(other, "game")
    await player.send("move", 7)
    skipped = await player.receive()
    assert (skipped["type"], skipped["room"], skipped["seq"]) == ("skipped", "game", 1)
    assert not {"data", "sessionId"} & skipped.keys()
    assert (await other.receive())["data"] == 7
    # It comes back, by its resume token, as the one that was left out: also when it does so twice.
    for _ in range(2):
        recovery = player.greeting["data"]["recovery"]
        resume = {"resume": recovery["resumeToken"], "epoch": recovery["epoch"], "seq": recovery["seq"]}
        player = await open_raw(server.url, token=token, session=player.greeting["sessionId"], resume=resume)
        assert (await join(player, "game", recovery=stood))["recovered"] is True
        again = await player.receive()
        assert {**again, "timestamp": 0} == {**skipped, "timestamp": 0}
    stranger = await open_raw(server.url)
    await join(stranger, "game", recovery=stood)
    assert (await stranger.receive())["data"] == 7


async def test_replays_of_many_rooms_come_one_after_the_other_as_fast_as_they_are_read(start_server, open_raw, engine):
    rooms = [f"r{number}" for number in range(12)]
    server = await start_server(engine=engine, rooms=RoomLimits(per_connection=12), max_message_bytes=1 << 20)
    client = await open_raw(server.url)
    stood = {room: await join(client, room) for room in rooms}
    for room in rooms:
        await client.send("room.leave", {"room": room})
    for room in rooms:
        for _ in range(4):
            server.hub.publish("message", "x" * (100 << 10), room=room)
    client = await open_raw(server.url)
    for room in rooms:  # 4.8 MB, of which one client may let 1 MiB wait
        await client.send("room.join", {"room": room, "recovery": stood[room]})
    await client.send("ping")
    received = [(envelope["type"], envelope.get("seq")) for envelope in [await client.receive() for _ in range(61)]]
    for start in range(0, 60, 5):
        part = [entry for entry in received if entry[0] != "pong"][start : start + 5]
        assert part == [("room.joined", None), *(("message", seq) for seq in range(1, 5))]
    assert server.metrics.value("wsctl_recoveries_total", outcome="whole") == 12


async def test_too_much_replay_at_once_is_told_as_lost(start_server, open_raw):
    now_s = 1000.0
    server = await start_server(clock=Clock(now_s=lambda: now_s), rooms=RoomLimits(per_connection=30))
    client = await open_raw(server.url)
    rooms = [f"r{number}" for number in range(20)]
    stood = {room: await join(client, room) for room in rooms}
    for room in rooms:
        await client.send("room.leave", {"room": room})
        for _ in range(4):
            server.hub.publish("message", "x" * (125 << 10), room=room)
        await asyncio.sleep(0)
    client = await open_raw(server.url)
    answers = [(await join(client, room, recovery=stood[room]))["recovered"] for room in rooms]
    assert answers == [True] * 16 + [False] * 4
    now_s += REPLAY_BUDGET_S
    await client.send("room.leave", {"room": "r19"})
    assert (await join(client, "r19", recovery=stood["r19"]))["recovered"] is True


def test_a_budget_is_for_a_time():
    budget = ReplayBudget(0)
    assert budget.take(REPLAY_BUDGET_BYTES, 1)
    assert not budget.take(1, REPLAY_BUDGET_S - 0.1)
    assert budget.take(1, REPLAY_BUDGET_S)


async def test_a_room_outlives_its_last_member_by_the_windows_age(start_server, open_raw):
    now_s = 1000.0
    server = await start_server(clock=Clock(now_s=lambda: now_s))
    client = await open_raw(server.url)
    stood = await join(client, "hall")
    await client.ws.close()
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    now_s += 119
    assert (await join(await open_raw(server.url), "hall", recovery=stood))["recovered"] is True


async def test_an_app_waits_until_the_broker_has_a_message_and_reads_what_is_kept(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    hub = server.hub
    results = [await hub.published("note", {"n": number}, room="hall", user_id="alice") for number in range(1, 6)]
    assert [result.seq for result in results] == [1, 2, 3, 4, 5]
    assert len({result.epoch for result in results}) == 1
    kept = await hub.history(room="hall")
    assert [(message.type, message.seq, message.data, message.user_id, message.room) for message in kept] == [
        ("note", number, {"n": number}, "alice", "hall") for number in range(1, 6)
    ]
    assert [message.seq for message in await hub.history(room="hall", limit=2)] == [4, 5]
    assert [message.seq for message in await hub.history(room="hall", limit=2, before=4)] == [2, 3]
    assert [message.seq for message in await hub.history(room="hall", before=1)] == []
    assert await hub.history(room="hall", limit=0) == []
    assert await hub.history(session="nobody") == []
    client = await open_raw(server.url)
    session = client.greeting["sessionId"]
    await client.send("message", "said")
    await client.receive()
    assert [message.data for message in await hub.history(session=session)] == ["said"]
    with pytest.raises(TypeError, match="one of"):
        await hub.history()
    with pytest.raises(UnsendableError):
        await hub.history(room="not a room")


async def test_what_goes_to_a_user_has_no_place_and_with_recovery_off_nothing_has(
    start_server, open_raw, user_token, jwt_key
):
    server = await start_server(jwt_key=jwt_key)
    client = await open_raw(server.url, token=user_token("alice"))
    assert (await server.hub.published("note", user="alice")).seq is None
    assert "seq" not in await client.receive()
    off = await start_server(recovery=RecoveryLimits(age_s=0))
    client = await open_raw(off.url)
    await client.send("room.join", {"room": "hall", "recovery": {"epoch": "e", "seq": 0}})
    assert (await client.receive())["data"] == {"room": "hall"}
    assert (await off.hub.published("note", room="hall")).seq is None
    assert await off.hub.history(room="hall") == []


async def test_a_count_that_begins_anew_in_a_room_names_the_room(start_server, open_raw):
    server = await start_server(outbound=OutboundLimits())
    client = await open_raw(server.url)
    await join(client, "hall")
    server.hub.publish("note", room="hall")
    server._broker._histories.get("room", "hall").seq = 2**53 - 1
    server.hub.publish("note", room="hall")
    told = await client.receive_type("recovery")
    assert told["data"]["room"] == "hall"
    assert not {"room", "sessionId", "seq"} & told.keys()
    assert (await client.receive())["seq"] == 1

"""What groups take: joins cost no memory worth naming, what is counted is what it is, and the cap of recovery holds."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from tests.wsserver.roomhouse import House
from wscore.histories import Histories
from wscore.recovery import RecoveryLimits
from wscore.rooms import RoomAccess
from wsserver import App, Context, OutboundLimits
from wsserver.connections.rooms import MEMBER_BYTES, ROOM_BYTES

KIB = 1024


@pytest.fixture
def taken() -> Callable[[Callable[[], object]], int]:
    """Return how many bytes are there after a call that were not before it."""

    def measure(call: Callable[[], object]) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            kept = call()
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
            del kept
            return after - before
        finally:
            tracemalloc.stop()

    return measure


@pytest.mark.parametrize(("is_shared", "bytes_a_room"), [(True, MEMBER_BYTES), (False, MEMBER_BYTES + ROOM_BYTES + 20)])
def test_joining_a_hundred_rooms_takes_no_more_than_is_counted(taken, is_shared, bytes_a_room):
    house = House()
    connections = [house.connect(f"u{number}") for number in range(25)]
    for connection in connections:
        connection.channel.send_text = lambda payload: None  # what it is told is not what membership takes
        connection.channel.write = lambda frames: 0

    def join() -> None:
        for number, connection in enumerate(connections):
            for room in range(100):
                house.rooms.join(connection, f"r{room}" if is_shared else f"r{number}-{room}", RoomAccess.PUBLISH)
        house.pass_time(1)

    each = taken(join) / len(connections)
    assert each <= 100 * bytes_a_room
    assert each * len(connections) <= house.rooms.used
    for connection in connections:
        house.lose(connection)
    assert house.rooms.used == 0


def test_recovery_takes_less_than_a_third_of_a_kibibyte_of_a_connection_to_which_nothing_was_said(taken):
    names = [f"session-{number}" for number in range(1000)]

    def hold() -> Histories:
        histories = Histories(RecoveryLimits(), lambda: "an-epoch-for-all")
        for name in names:
            histories.hold(histories.find("session", name, 1.0))
        return histories

    assert taken(hold) / len(names) <= 0.3 * KIB


@pytest.mark.parametrize("size", [40, 180, 2000])
def test_what_is_counted_of_what_is_kept_is_what_it_takes(taken, size):
    names = [f"room-{number}" for number in range(1000)]
    histories = Histories(RecoveryLimits(memory=1 << 30), lambda: "an-epoch-for-all")

    def keep() -> None:
        for name in names:
            histories.append(histories.find("room", name, 1.0), bytes(size), 1.0)

    assert taken(keep) + sum(map(len, names)) <= histories.size


async def test_100_000_rooms_with_a_message_each_stay_under_the_cap_and_who_comes_back_is_told(start_server, open_raw):
    cap = 4 << 20
    server = await start_server(recovery=RecoveryLimits(memory=cap))
    client = await open_raw(server.url)
    held = server.hub.publish("note", 1, room="room-0")
    server.hub.publish("note", 2, room="room-0")
    for number in range(1, 100_000):
        server.hub.publish("note", "x" * 100, room=f"room-{number}")
        if number % 100 == 0:
            assert server.metrics.value("wsctl_recovery_bytes") <= cap
    evicted = server.metrics.value("wsctl_recovery_evicted_total")
    assert 80_000 < evicted < 100_000
    for room, is_whole in (("room-0", False), ("room-1", False), ("room-99999", True)):
        epoch = held.epoch if room != "room-99999" else server.hub.publish("note", 3, room=room).epoch
        await client.send("room.join", {"room": room, "recovery": {"epoch": epoch, "seq": 1}})
        assert (await client.receive_type("room.joined"))["data"]["recovery"]["recovered"] is is_whole


async def test_who_leaves_while_publishes_are_under_way_gets_those_before_and_none_behind(
    start_server, open_raw, engine
):
    app = App()
    payload = "x" * 50_000

    @app.on("mix")
    def mix(ctx: Context) -> None:
        for number in range(40):  # more than the socket takes: the rest waits
            ctx.publish("note", [number, payload], room="hall")
        ctx.leave("hall", "enough")
        ctx.publish("note", ["late"], room="hall")
        ctx.join("hall")
        ctx.publish("note", ["again"], room="hall")

    server = await start_server(app, engine=engine, outbound=OutboundLimits(64 << 20), recovery=RecoveryLimits(0))
    leaver, stayer = await open_raw(server.url), await open_raw(server.url)
    for client in (leaver, stayer):
        await client.send("room.join", {"room": "hall"})
        assert (await client.receive())["type"] == "room.joined"
    await leaver.send("mix")
    got = [await leaver.receive() for _ in range(43)]
    assert [envelope["data"][0] for envelope in got[:40]] == list(range(40))
    assert [envelope["type"] for envelope in got[40:]] == ["room.left", "room.joined", "note"]
    assert got[42]["data"] == ["again"]
    assert [(await stayer.receive())["data"][0] for _ in range(42)] == [*range(40), "late", "again"]

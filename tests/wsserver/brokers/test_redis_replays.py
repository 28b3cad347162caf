"""What a server replays out of Redis: for many at once, beyond the outbound limit, and to who reads slowly."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from tests.wsserver.conftest import HANG_S
from wscore.recovery import RecoveryLimits
from wsserver.brokers.redisgroups import HOLD_S
from wsserver.brokers.redistarget import read_target
from wsserver.connections.rooms import RoomLimits
from wsserver.outbound.backlog import OutboundLimits

LIMIT = 256 << 10  # of what may wait for one connection; half of it is what a group keeps
EVENT = "x" * (20 << 10)
SMALL = OutboundLimits(per_connection=LIMIT)


def resume_of(client, seq):
    recovery = client.greeting["data"]["recovery"]
    return {"epoch": recovery["epoch"], "seq": seq, "resume": recovery["resumeToken"]}


async def until(is_so) -> None:
    async with asyncio.timeout(HANG_S):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_all_who_come_at_once_from_elsewhere_have_what_they_missed(start_pair, open_raw, guest_token):
    first, second = await start_pair()
    gone = []
    for number in range(1, 31):
        token = guest_token()
        client = await open_raw(first.url, token=token, session="s")
        await first.hub.published("note", number, session="s")
        await client.ws.close()
        gone.append((token, resume_of(client, client.greeting["data"]["recovery"]["seq"])))
    last = 30

    async def come(token, resume):
        back = await open_raw(second.url, token=token, session="s", resume=resume)
        assert back.greeting["data"]["recovery"]["recovered"] is True
        return [(await back.receive_type("note"))["seq"] for _ in range(last - resume["seq"])]

    for missed in await asyncio.gather(*(come(*those) for those in gone)):
        assert missed == list(range(last - len(missed) + 1, last + 1))


async def test_what_was_read_for_one_is_not_added_to_for_another_beyond_the_window(start_pair, open_raw, guest_token):
    first, second = await start_pair(outbound=SMALL, recovery=RecoveryLimits(size=LIMIT // 2))
    token = guest_token()
    client = await open_raw(first.url, token=token, session="s")
    await client.ws.close()
    await keep(first, 5, session="s")
    back = await open_raw(second.url, token=token, session="s", resume=resume_of(client, 0))
    assert [(await back.receive())["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
    await keep(first, 5, session="s")
    assert [(await back.receive())["seq"] for _ in range(5)] == [6, 7, 8, 9, 10]
    late = await open_raw(second.url, token=token, session="s", resume=resume_of(client, 0))
    assert late.greeting["data"]["recovery"]["recovered"] is False


async def test_a_group_that_is_made_ready_keeps_its_place_while_others_need_the_room(start_pair, movable_clock):
    limit = 8 << 10
    first, second = await start_pair(recovery=RecoveryLimits(size=limit, memory=limit), clock=movable_clock.clock)
    groups = first._broker._groups
    for server in (first, second):
        await server._broker.ready("room", "waits")  # for somebody who is about to come in
    before = first._broker.position("room", "waits")
    for number in range(6):  # twice what may be kept in all
        await first._broker.ready("room", f"r{number}")
        last = await first.hub.published("note", "x" * (limit // 3), room=f"r{number}")
        await until(lambda number=number, last=last: first._broker.position("room", f"r{number}").seq == last.seq)
    assert first._broker.evicted
    assert groups.histories.size <= limit
    placed = await second.hub.published("note", 1, room="waits")
    await until(lambda: first._broker.position("room", "waits") == (placed.epoch, placed.seq))
    (missed,) = first._broker.since("room", "waits", before)
    assert (missed.previous, missed.seq) == (before.seq, placed.seq)
    await movable_clock.advance(HOLD_S + 2)
    assert (len(groups.histories), groups.histories.size) == (0, 0), "nobody came, so nothing stays"
    assert first.is_ready


@pytest.fixture(params=["memory", "redis"])
def start(request, start_server, engine):
    """Start servers that share what they keep: one with its memory, or two with a Redis."""

    async def start(**settings):
        settings = {"engine": engine, "outbound": SMALL, "recovery": RecoveryLimits(size=LIMIT // 2), **settings}
        if request.param == "memory":
            server = await start_server(**settings)
            return server, server
        broker = read_target(request.getfixturevalue("redis").url)
        return [await start_server(broker=broker, broker_prefix="t:", **settings) for _ in range(2)]

    return start


@pytest.fixture
def open_slow(open_raw):
    """Open a client that reads only what a test takes; the rest waits in the server, after small buffers."""

    async def open_one(url, **options):
        parts = urlsplit(url)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
        return await open_raw(url, sock=raw, max_queue=1, max_size=None, **options)

    return open_one


async def keep(server, count, **target):
    for _ in range(count):
        await server.hub.published("note", EVENT, **target)


async def test_replays_of_more_than_the_outbound_limit_come_as_fast_as_they_are_read(start, open_raw, open_slow):
    first, second = await start(rooms=RoomLimits(per_connection=12), max_message_bytes=1 << 20)
    rooms = [f"r{number}" for number in range(12)]
    client = await open_raw(first.url)
    stood = {}
    for room in rooms:
        await client.send("room.join", {"room": room})
        stood[room] = (await client.receive_type("room.joined"))["data"]["recovery"]
    await client.ws.close()
    for room in rooms:
        await keep(first, 5, room=room)
    slow = await open_slow(second.url)
    for room in rooms:  # 1.2 MB, five times of what may wait
        await slow.send("room.join", {"room": room, "recovery": stood[room]})
    for room in rooms:
        joined = await slow.receive_type("room.joined")
        assert (joined["data"]["room"], joined["data"]["recovery"]["recovered"]) == (room, True)
        assert [(await slow.receive())["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert second.backlog.used <= LIMIT


async def test_who_reads_slowly_during_a_replay_has_it_whole_and_then_what_came_meanwhile(
    start, open_raw, open_slow, guest_token
):
    first, second = await start()
    token = guest_token()
    client = await open_raw(first.url, token=token, session="s")
    await client.ws.close()
    await keep(first, 6, session="s")
    slow = await open_slow(second.url, token=token, session="s", resume=resume_of(client, 0))
    assert slow.greeting["data"]["recovery"]["recovered"] is True
    for number in range(7, 10):
        await first.hub.published("note", number, session="s")  # live, behind the replay
        assert (await slow.receive_type("note"))["seq"] == number - 6
        await asyncio.sleep(0.05)
    assert [(await slow.receive_type("note"))["seq"] for _ in range(6)] == [4, 5, 6, 7, 8, 9]


async def test_who_stands_still_in_a_replay_is_dropped_alone_and_resumes_where_it_was(
    start, open_raw, open_slow, guest_token
):
    first, second = await start()
    token = guest_token()
    client = await open_raw(first.url, token=token, session="s")
    await client.ws.close()
    neighbour = await open_raw(second.url, session="s")
    await keep(first, 6, session="s")
    stalled = await open_slow(second.url, token=token, session="s", resume=resume_of(client, 0))
    published = 6

    while all(connection.is_open for connection in second.connections.all()):
        assert published < 1000, "nothing ever waited"
        await keep(first, 1, session="s")
        published += 1
        assert (await neighbour.receive_type("note")) is not None
    envelopes, code, _ = await stalled.received_until_closed()
    held = [envelope["seq"] for envelope in envelopes]
    assert code == 4003
    assert held == list(range(1, len(held) + 1)), "what came is whole, up to where it ends"
    again = await open_raw(second.url, token=token, session="s", resume=resume_of(client, held[-1]), max_size=None)
    recovery = again.greeting["data"]["recovery"]
    if recovery["recovered"]:
        assert [(await again.receive_type("note"))["seq"] for _ in range(published - held[-1])] == list(
            range(held[-1] + 1, published + 1)
        )
    else:
        assert recovery["seq"] == published
        assert (published - held[-1]) * len(EVENT) > LIMIT // 2 - len(EVENT), "it was in the window"

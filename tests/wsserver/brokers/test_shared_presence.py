"""Presence is one over all servers that share a broker: nobody flickers, stays for ever or is told of twice."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.wsserver.conftest import HANG_S
from wscore.codes import ErrorCode
from wsserver import RoomLimits
from wsserver.brokers.base import NotPublishedError
from wsserver.lifetime import presence


async def test_a_server_without_members_knows_who_is_in_a_room(start_pair, jwt_key, come):
    first, second = await start_pair(jwt_key=jwt_key)
    for user in ("alice", "bob", "alice"):
        await come(first, user, presence=False)
    for server in (first, second):
        assert sorted(await server.hub.members("hall")) == ["alice", "bob"]


async def test_who_reconnects_to_the_other_server_does_not_flicker(start_pair, jwt_key, come, movable_clock):
    first, second = await start_pair(jwt_key=jwt_key, clock=movable_clock.clock)
    watcher = await come(first, "watcher")
    far = await come(second, "far")
    user = await come(first, "user", presence=False)
    for member in (watcher, far):
        await member.knows("watcher", "far", "user")
    user.client.ws.transport.abort()
    while len(first.connections) > 1:
        await asyncio.sleep(0)
    await movable_clock.advance(3)
    user = await come(second, "user", presence=False)
    for _ in range(8):
        await movable_clock.advance(0.5)
        await asyncio.sleep(0.01)
    for member in (watcher, far):
        await member.hears_nothing()
    user.client.ws.transport.abort()
    while len(second.connections) > 1:
        await asyncio.sleep(0)
    await movable_clock.advance(presence.LINGER_S + 0.1)
    for member in (watcher, far):
        await asyncio.wait_for(_moving(movable_clock, member.knows("watcher", "far")), HANG_S)


async def _moving(clock, waited_for) -> None:
    """Wait while the time goes on: what went through Redis comes at a time of its own."""
    task = asyncio.ensure_future(waited_for)
    while not task.done():
        await clock.advance(0.1)
        await asyncio.sleep(0.005)
    await task


@pytest.mark.slow
async def test_a_server_that_ends_hands_its_members_over(start_pair, jwt_key, come):
    first, second = await start_pair(jwt_key=jwt_key)
    await come(first, "watcher")
    await come(first, "stays", presence=False)
    await come(first, "goes", presence=False)
    await first.stop()
    watcher = await come(second, "watcher")  # nobody there has heard of the room before
    assert watcher.known == {"watcher", "stays", "goes"}
    await come(second, "stays", presence=False)
    assert set(await second.hub.members("hall")) == watcher.known
    await watcher.knows("watcher", "stays")  # and not a word in between


async def test_a_server_that_does_not_renew_its_members_has_lost_them_after_15_s(
    start_pair, jwt_key, come, movable_clock
):
    first, second = await start_pair(jwt_key=jwt_key, clock=movable_clock.clock)
    watcher = await come(first, "watcher")
    await come(second, "ghost", presence=False)
    await watcher.knows("watcher", "ghost")
    for _ in range(60):
        await movable_clock.advance(0.5)
        await asyncio.sleep(0.003)
    await watcher.hears_nothing()  # it beats
    await second._broker._backplane._calls.stop()  # as if it were killed: nothing of it comes any more
    began_s = movable_clock.now_s()
    await asyncio.wait_for(_moving(movable_clock, watcher.knows("watcher")), HANG_S)
    assert 12 < movable_clock.now_s() - began_s < 30


async def test_what_was_missed_is_made_good_by_the_full_list(start_pair, jwt_key, come, redis):
    first, second = await start_pair(jwt_key=jwt_key)
    watcher = await come(first, "watcher")
    await come(second, "bob", presence=False)
    await watcher.knows("watcher", "bob")
    with redis.client as client:
        client.flushall()
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    carol = await come(second, "carol")
    async with asyncio.timeout(HANG_S):
        while not watcher.wholes or watcher.known != {"watcher", "bob", "carol"}:
            watcher.take((await watcher.client.receive_type("presence"))["data"])
    await carol.knows("watcher", "bob", "carol")  # she came while the first server heard nothing


@pytest.mark.slow
async def test_without_redis_nobody_is_told_wrong_numbers_and_it_heals(start_pair, jwt_key, come, redis):
    first, second = await start_pair(jwt_key=jwt_key)
    watcher = await come(first, "watcher")
    bob = await come(second, "bob", presence=False)
    await watcher.knows("watcher", "bob")
    redis.kill()
    async with asyncio.timeout(HANG_S):
        while first.is_ready or second.is_ready:
            await asyncio.sleep(0.005)
    with pytest.raises(NotPublishedError):
        await first.hub.members("hall")
    await watcher.client.send("room.join", {"room": "other", "presence": True}, id="o")
    assert (await watcher.client.receive_type("error"))["data"]["code"] == ErrorCode.PROCESSING_ERROR
    await bob.client.send("room.leave", {"room": "hall"})
    await bob.client.receive_type("room.left")
    redis.start()
    async with asyncio.timeout(HANG_S):
        while not watcher.wholes or watcher.known != {"watcher"}:
            watcher.take((await watcher.client.receive_type("presence"))["data"])
    assert await second.hub.members("hall") == ["watcher"]


async def test_a_member_that_asks_later_is_told_who_is_there_at_all_servers(start_pair, jwt_key, come):
    first, second = await start_pair(jwt_key=jwt_key)
    asks = await come(first, "asks", presence=False)
    await come(second, "far", presence=False)
    await asks.join()  # the room is one that nobody has watched before
    assert asks.known == {"asks", "far"}
    late = await come(second, "late", presence=False)
    await asks.knows("asks", "far", "late")
    await late.client.send("room.leave", {"room": "hall"})
    await asks.knows("asks", "far")


async def test_a_member_that_asks_while_redis_is_away_is_told_so_and_stays(start_pair, jwt_key, come, redis):
    first, second = await start_pair(jwt_key=jwt_key)
    asks = await come(first, "asks", presence=False)
    redis.kill()
    async with asyncio.timeout(HANG_S):
        while first.is_ready:
            await asyncio.sleep(0.005)
    await asks.client.send("room.join", {"room": "hall", "presence": True}, id="j")
    refused = await asks.client.receive_type("error")
    assert (refused["id"], refused["data"]["code"], refused["data"]["retryable"]) == ("j", "PROCESSING_ERROR", True)
    redis.start()
    async with asyncio.timeout(HANG_S):
        while not (first.is_ready and second.is_ready):
            await asyncio.sleep(0.005)
    await first.hub.published("news", 1, room="hall")
    assert (await asks.client.receive_type("news"))["data"] == 1
    await asks.join()
    assert asks.known == {"asks"}


async def test_a_member_that_is_taken_out_while_it_asks_is_not_told(start_pair, jwt_key, come, redis):
    first, _ = await start_pair(jwt_key=jwt_key)
    asks = await come(first, "asks", presence=False)
    redis.signal(signal.SIGSTOP)  # the others are asked, and cannot answer
    await asks.client.send("room.join", {"room": "hall", "presence": True}, id="j")
    await asks.client.send("ping", id="p")
    await asks.client.receive_type("pong")
    first.hub.leave("hall", connection=asks.client.greeting["data"]["connectionId"])
    await asks.client.receive_type("room.left")
    redis.signal(signal.SIGCONT)
    refused = await asks.client.receive_type("error")
    assert (refused["id"], refused["data"]["code"]) == ("j", "FORBIDDEN")


async def test_users_for_whom_there_is_no_room_are_counted(start_pair, jwt_key, come):
    first, second = await start_pair(jwt_key=jwt_key, rooms=RoomLimits(in_all=6500))
    watcher = await come(first, "watcher")
    for number in range(12):
        await come(second, f"u{number}", presence=False)
    async with asyncio.timeout(HANG_S):
        while not (unlisted := first.metrics.value("wsctl_presence_unlisted_total")):
            watcher.take((await watcher.client.receive_type("presence"))["data"])
    assert len(await first.hub.members("hall")) <= 13 - unlisted
    assert first.metrics.value("wsctl_room_bytes") <= 6500

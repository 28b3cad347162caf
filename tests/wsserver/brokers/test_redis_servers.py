"""Servers that share a Redis: what is said at one is heard at all, and whoever moves between them misses nothing."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect

from wscore.envelope import MessageProtocol
from wsserver.brokers.base import NotPublishedError

HANG_S = 20


def numbers(envelopes):
    return [envelope["seq"] for envelope in envelopes]


async def test_a_message_reaches_the_session_at_every_server_in_one_order(start_pair, open_raw, engine):
    servers = await start_pair(engine=engine)
    clients = [await open_raw(server.url, session="s") for server in servers for _ in range(2)]
    greetings = [client.greeting["data"]["recovery"] for client in clients]
    assert len({greeting["epoch"] for greeting in greetings}) == 1
    for number in range(40):
        await clients[number % 4].send("message", number)
    received = [[await client.receive_type("message") for _ in range(40)] for client in clients]
    assert all(numbers(envelopes) == list(range(1, 41)) for envelopes in received)
    assert len({tuple(envelope["data"] for envelope in envelopes) for envelopes in received}) == 1


async def test_whoever_comes_back_to_another_server_gets_what_was_said_meanwhile(start_pair, open_raw):
    first, second = await start_pair()
    gone = await open_raw(first.url, session="s")
    stays = await open_raw(second.url, session="s")
    token = gone.ws.request.path.partition("token=")[2].partition("&")[0]
    await stays.send("message", "heard")
    await gone.receive_type("message")
    await gone.ws.close()
    for number in range(5):
        await stays.send("message", number)
        await stays.receive_type("message")
    recovery = gone.greeting["data"]["recovery"]
    query = f"token={token}&sessionId=s&epoch={recovery['epoch']}&seq=1&resume={recovery['resumeToken']}"
    async with connect(f"{second.url}?{query}", proxy=None) as back:
        read = MessageProtocol(lambda: 0).deserialize
        greeting = read((await back.recv()).encode())
        assert b'"recovered":true' in bytes(greeting.data)
        missed = [await asyncio.wait_for(back.recv(), HANG_S) for _ in range(5)]
    assert [f'"seq":{seq}' in text for seq, text in enumerate(missed, 2)] == [True] * 5


async def test_rooms_users_and_those_left_out_are_the_same_everywhere(start_pair, open_raw):
    first, second = await start_pair()
    here, there = await open_raw(first.url), await open_raw(second.url)
    for client in (here, there):
        await client.send("room.join", {"room": "lobby"}, id="j")
        joined = await client.receive_type("room.joined")
        assert joined["data"]["recovery"]["seq"] == 0
    first.hub.publish("news", 1, room="lobby", except_connection=here.greeting["data"]["connectionId"])
    assert (await there.receive())["data"] == 1
    assert (await here.receive())["type"] == "skipped"
    second.hub.publish("hello", 2, user=second.connections.all()[0].principal)
    first.hub.publish("hello", 3, user=second.connections.all()[0].principal)
    assert [(await there.receive())["data"] for _ in range(2)] == [2, 3]
    here_again = await second.hub.published("news", 4, room="lobby")
    assert here_again.seq == 2
    assert (await here.receive())["data"] == 4
    assert [message.data for message in await first.hub.history(room="lobby")] == [1, 4]


@pytest.mark.parametrize("nobody", ["c" * 200, "c" * 1000, "ü" * 100, "c1 c2", ""])
async def test_an_id_that_no_connection_has_leaves_out_nobody(start_pair, open_raw, nobody):
    first, second = await start_pair()
    here, there = await open_raw(first.url, session="s"), await open_raw(second.url, session="s")
    first.hub.publish("news", 1, session="s", lossy=True, except_connection=nobody)
    await first.hub.published("news", 2, session="s", except_connection=nobody)
    for client in (here, there):
        assert [(await client.receive())["data"] for _ in range(2)] == [1, 2]


async def test_while_redis_is_away_nobody_is_told_what_is_not_so(start_pair, open_raw, redis, movable_clock):
    first, second = await start_pair(clock=movable_clock.clock)
    here, there = await open_raw(first.url, session="s"), await open_raw(second.url, session="s")
    before = here.greeting["data"]["recovery"]["epoch"]
    redis.kill()
    while first.is_ready or second.is_ready:
        await asyncio.sleep(0.01)
    refused = await open_raw(first.url, session="other", greet=False)
    await movable_clock.advance(3)
    envelopes, code, reason = await refused.received_until_closed()
    assert (envelopes, code, reason) == ([], 1013, "The server cannot reach the others")
    unpublished = asyncio.ensure_future(first.hub.published("message", "lost", session="s"))
    await here.send("message", "late", id="m1")
    await here.send("ping", id="p1")
    await here.receive_type("pong")  # so the message is with the server
    await movable_clock.advance(12)
    with pytest.raises(NotPublishedError):
        await unpublished
    answer = await here.receive_type("error")
    assert first.metrics.value("wsctl_broker_missed_total", reason="not-stored") == 2
    first.hub.publish("typing", session="s", lossy=True)
    await here.receive_type("typing")
    assert first.metrics.value("wsctl_broker_missed_total", reason="here-only") == 1
    assert (answer["id"], answer["data"]["code"], answer["data"]["retryable"]) == ("m1", "PROCESSING_ERROR", True)
    redis.start()
    for client in (here, there):
        lost = await client.receive_type("recovery")
        assert lost["data"]["recovered"] is False
        assert lost["data"]["epoch"] != before
    await here.send("message", "again")
    assert (await there.receive_type("message"))["seq"] == 1


async def test_what_comes_over_redis_and_is_no_batch_is_counted(start_pair, open_raw, redis):
    first, second = await start_pair()
    here = await open_raw(first.url, session="s")
    with redis.client as client:
        assert client.publish("t:{s:s}", "poison") == 1
    first.hub.publish("note", 1, session="s")
    assert (await here.receive_type("note"))["seq"] == 1
    assert [server.metrics.value("wsctl_broker_missed_total", reason="unreadable") for server in (first, second)] == [
        1,
        0,
    ]

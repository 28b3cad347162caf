"""What all processes agree on is theirs, whatever Redis loses: resume tokens stay good, at a later server too."""

from __future__ import annotations

import asyncio

import pytest

from tests.wsserver.conftest import HANG_S
from wsserver.brokers.redistarget import read_target

KEY = "t:resume-secret"


async def until(is_so) -> None:
    async with asyncio.timeout(HANG_S):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("loss", ["FLUSHALL", "a restart"])
async def test_a_resume_token_outlives_what_redis_loses(start_pair, start_server, open_raw, guest_token, redis, loss):
    first, second = await start_pair()
    token = guest_token()
    client = await open_raw(first.url, token=token, session="s")
    if loss == "FLUSHALL":
        with redis.client as direct:
            direct.flushall()
        second._broker.check()  # as every second: the first that looks writes it back
    else:
        redis.kill()
        redis.start()
        await until(lambda: first.is_ready and second.is_ready)
    with redis.client as direct:
        await until(lambda: direct.exists(KEY))
    third = await start_server(broker=read_target(redis.url), broker_prefix="t:")
    await first.hub.published("note", 1, session="s")
    lost = (await client.receive_type("recovery"))["data"]
    missed = await first.hub.published("note", 2, session="s")
    await client.ws.close()
    resume = {
        "epoch": lost["epoch"],
        "seq": missed.seq - 1,
        "resume": client.greeting["data"]["recovery"]["resumeToken"],
    }
    back = await open_raw(third.url, token=token, session="s", resume=resume)
    assert back.greeting["data"]["recovery"]["recovered"] is True
    assert (await back.receive())["data"] == 2


async def test_a_newcomer_that_was_quicker_is_followed_by_all(start_pair, redis):
    servers = await start_pair()
    before = servers[0]._resume_tokens._key
    with redis.client as direct:
        direct.set(KEY, b"n" * 32)
    for server in servers:
        server._broker.check()
    await until(lambda: servers[0]._resume_tokens._key == servers[1]._resume_tokens._key != before)


async def test_a_redis_that_is_full_and_has_lost_it_is_asked_again(start_pair, redis):
    first, _ = await start_pair()
    with redis.client as direct:
        value = direct.get(KEY)
        direct.delete(KEY)
        direct.config_set("maxmemory", "1kb")
        first._broker.check()
        await until(lambda: not first._broker._backplane._replies)
        assert direct.get(KEY) is None
        direct.config_set("maxmemory", 0)
        first._broker.check()
        await until(lambda: direct.get(KEY) == value)

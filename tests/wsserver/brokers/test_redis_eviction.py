"""Redis makes room by deleting the one key that says where a group stands: its members are told, and it counts anew."""

from __future__ import annotations

import asyncio

from tests.wsserver.brokers.faultworld import LOG, META, SESSION

BALLAST = 400_000
IDLE_S = 2  # Redis knows by the second what it used last


async def test_the_count_of_a_group_alone_is_evicted_as_least_used(start_pair, open_raw, redis):
    first, second = await start_pair()
    here, there = await open_raw(first.url, session=SESSION), await open_raw(second.url, session=SESSION)
    for number in range(1, 4):
        await first.hub.published("note", number, session=SESSION)
    before = here.greeting["data"]["recovery"]["epoch"]
    with redis.client as client:
        client.hset(META, "ballast", b"x" * BALLAST)
        others = [key for key in client.keys("*") if key != META.encode()]
        assert LOG.encode() in others
        while client.object("idletime", META) < IDLE_S:
            await asyncio.sleep(0.05)
            client.touch(*others)
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory-samples", 64)
        client.config_set("maxmemory", client.info("memory")["used_memory"] - BALLAST // 2)
        client.set("one more", "x")  # which there is no room for
        assert client.info("stats")["evicted_keys"] == 1
        assert client.exists(META) == 0
        assert client.xlen(LOG) == 3
    await second.hub.published("note", 4, session=SESSION)
    for member in (here, there):
        assert [(await member.receive_type("note"))["seq"] for _ in range(3)] == [1, 2, 3]
        lost = (await member.receive())["data"]
        assert lost["recovered"] is False
        assert lost["epoch"] != before
    for server in (first, second):
        placed = await server.hub.published("note", 5, session=SESSION)
        assert placed.epoch == lost["epoch"]
        assert placed.seq == (await here.receive_type("note"))["seq"] == (await there.receive_type("note"))["seq"]
    assert [message.data for message in await first.hub.history(session=SESSION)] == [4, 5, 5]

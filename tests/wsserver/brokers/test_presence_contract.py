"""What presence is to clients and to the hub, whether one process serves all of them or two do over a Redis."""

from __future__ import annotations

import pytest

from wsserver.brokers.redistarget import read_target
from wsserver.lifetime import presence
from wsserver.sdk.app import default_app


@pytest.fixture(params=["memory", "redis"])
async def two(request, start_server, engine, jwt_key):
    """Return two servers that share a broker, or the same one twice."""
    settings = {"engine": engine, "jwt_key": jwt_key}
    if request.param == "memory":
        return [await start_server(**settings)] * 2
    target = read_target(request.getfixturevalue("redis").url)
    return [await start_server(default_app(), broker=target, **settings) for _ in range(2)]


async def test_members_see_each_other_come_and_go(two, come):
    first, second = two
    plain = await come(second, "plain", presence=False)  # before anybody watches
    alice = await come(first, "alice")
    assert alice.known == {"plain", "alice"}
    bob = await come(second, "bob")
    assert bob.known == {"plain", "alice", "bob"}
    await alice.knows("plain", "alice", "bob")
    again = await come(first, "bob", presence=False)
    carol = await come(second, "carol")
    assert carol.known == {"plain", "alice", "bob", "carol"}
    await alice.knows("plain", "alice", "bob", "carol")
    await bob.client.send("room.leave", {"room": "hall"})  # it is there by its other connection
    await bob.client.receive_type("room.left")
    for server in two:
        assert set(await server.hub.members("hall")) == carol.known
        assert await server.hub.members("nowhere") == []
    await plain.client.send("room.leave", {"room": "hall"})
    await again.client.send("room.leave", {"room": "hall"})
    for member in (alice, carol):
        await member.knows("alice", "carol")
        assert member.wholes == 0


async def test_a_member_that_asks_later_is_told_who_is_there_and_what_changes_from_then_on(two, come):
    first, second = two
    alice = await come(first, "alice", presence=False)
    bob = await come(second, "bob", presence=False)
    await alice.join()
    assert alice.known == {"alice", "bob"}
    await bob.hears_nothing()
    await bob.client.send("room.leave", {"room": "hall"})
    await alice.knows("alice")


async def test_whom_the_hub_takes_out_has_left_and_is_told_so(two, come):
    first, second = two
    alice = await come(first, "alice")
    bob = await come(second, "bob", presence=False)
    await alice.knows("alice", "bob")
    first.hub.leave("hall", user="bob", reason="banned")
    assert (await bob.client.receive_type("room.left"))["data"]["reason"] == "banned"
    await alice.knows("alice")
    assert await second.hub.members("hall") == ["alice"]


async def test_whose_connection_is_lost_has_left_a_while_later(two, come, monkeypatch):
    monkeypatch.setattr(presence, "LINGER_S", 0.3)
    first, second = two
    alice = await come(first, "alice")
    bob = await come(second, "bob", presence=False)
    await alice.knows("alice", "bob")
    bob.client.ws.transport.abort()
    await alice.knows("alice")

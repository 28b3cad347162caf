"""What a server is asked to do with a connection is done, whichever of those that share a Redis has it."""

from __future__ import annotations

import asyncio

import pytest

from wscore.codes import ErrorCode
from wscore.rooms import RoomAccess
from wsserver import ConnectionGoneError
from wsserver.sdk import elsewhere
from wsserver.sdk.sendable import UnsendableError

HANG_S = 20


def id_of(client):
    return client.greeting["data"]["connectionId"]


async def test_a_connection_of_another_server_is_sent_to_in_order_and_closed(start_pair, open_raw, engine):
    first, second = await start_pair(engine=engine)
    client = await open_raw(second.url)
    for number in range(20):
        assert first.hub.send(id_of(client), "n", {"number": number}, id=f"i{number}")
    assert first.hub.send(id_of(client), "bare")
    assert first.hub.send_error(id_of(client), ErrorCode.FORBIDDEN, "no", {"why": 1}, id="e")
    assert first.hub.close(id_of(client), 4321, "enough")
    envelopes, code, reason = await client.received_until_closed()
    numbers, (bare, error) = envelopes[:20], envelopes[20:]
    assert [(sent["data"]["number"], sent["id"]) for sent in numbers] == [(n, f"i{n}") for n in range(20)]
    assert {sent["sessionId"] for sent in envelopes} == {client.greeting["sessionId"]}
    assert "data" not in bare
    assert (error["id"], error["data"]["code"], error["data"]["details"]) == ("e", "FORBIDDEN", {"why": 1})
    assert (code, reason) == (4321, "enough")
    assert second.metrics.value("wsctl_errors_total", code="FORBIDDEN") == 1


async def test_a_server_knows_those_that_have_ended_there_and_checks_what_it_sends_elsewhere(start_pair, open_raw):
    first, _ = await start_pair()
    client = await open_raw(first.url)
    await client.ws.close()
    await asyncio.wait_for(first.connections.wait_empty(), HANG_S)
    assert not first.hub.send(id_of(client), "late")
    assert not first.hub.close(id_of(client))
    with pytest.raises(ConnectionGoneError):
        await first.hub.request(id_of(client), "late")
    assert first.hub.send("whoever", "fine")
    with pytest.raises(UnsendableError):
        first.hub.send("whoever", "not a type")
    with pytest.raises(UnsendableError):
        first.hub.close("whoever", 1006)


async def test_a_request_is_answered_from_another_server_and_ends_with_its_connection(
    start_pair, open_raw, monkeypatch
):
    first, second = await start_pair()
    client = await open_raw(second.url)
    asking = asyncio.create_task(first.hub.request(id_of(client), "who", {"a": 1}, timeout_s=HANG_S))
    question = await client.receive()
    assert (question["type"], question["data"]) == ("who", {"a": 1})
    await client.send("me", {"name": "ann"}, id=question["id"])
    answer = await asking
    assert (answer.type, answer.data) == ("me", {"name": "ann"})
    with pytest.raises(TimeoutError, match=r"no reply to who within 0\.05 s"):
        await first.hub.request(id_of(client), "who", timeout_s=0.05)
    await client.receive()
    asking = asyncio.create_task(first.hub.request(id_of(client), "who", timeout_s=HANG_S))
    await client.receive()
    await client.ws.close()
    with pytest.raises(ConnectionGoneError):
        await asking
    monkeypatch.setattr(elsewhere, "FOUND_S", 0.05)
    with pytest.raises(ConnectionGoneError):
        await first.hub.request("nobody", "who", timeout_s=HANG_S)
    assert not first.hub._requests.waiting
    assert not first.hub._elsewhere._finding


async def test_all_connections_of_a_user_are_moved_and_closed_at_every_server(start_pair, open_raw):
    first, second = await start_pair()
    here = await open_raw(first.url)
    user = first.connections.all()[0].principal
    token = here.ws.request.path.partition("token=")[2].partition("&")[0]
    there = await open_raw(second.url, token=token)
    other = await open_raw(second.url)
    assert first.hub.join("hall", user=user, access=RoomAccess.LISTEN) == 1
    for client in (here, there):
        assert (await client.receive_type("room.joined"))["data"]["room"] == "hall"
    first.hub.publish("hello", user=user)
    assert [(await client.receive())["type"] for client in (here, there)] == ["hello", "hello"]
    assert first.hub.leave("hall", user=user, reason="over") == 1
    for client in (here, there):
        assert (await client.receive_type("room.left"))["data"]["reason"] == "over"
    assert first.hub.join("hall", connection=id_of(there)) == 0
    assert (await there.receive_type("room.joined"))["data"]["room"] == "hall"
    assert first.hub.leave("hall", connection=id_of(there), reason="again") == 0
    assert (await there.receive_type("room.left"))["data"]["reason"] == "again"
    assert first.hub.kick(user, reason="out") == 1
    for client in (here, there):
        assert (await client.received_until_closed())[1:] == (4004, "out")
    await other.send("ping")
    await other.receive_type("pong")


async def test_an_order_that_cannot_be_read_is_counted_and_hurts_nobody(start_pair, open_raw, redis):
    first, second = await start_pair()
    client = await open_raw(second.url)
    first._broker.order(b"\xc1 nonsense")
    first._broker.order(b"")
    assert first.hub.send(id_of(client), "after")
    assert (await client.receive())["type"] == "after"
    assert second.metrics.value("wsctl_orders_unreadable_total") == 2

"""Requests of an app to its clients: answered by id past all queues, late, never, or by somebody who is gone."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel, Field

from wscore.envelope import MessageProtocol
from wscore.message import Message, message_of
from wsserver import App, ConnectionGoneError, Context, Hub, InvalidMessageError


class Answer(msgspec.Struct):
    yes: bool


async def test_a_handler_asks_the_very_client_that_it_handles_a_message_of(start_server, open_raw, engine):
    app = App()

    @app.on("delete")
    async def delete(ctx: Context, name: str) -> None:
        reply = await ctx.hub.request(ctx.connection_id, "confirm", {"delete": name}, timeout_s=20)
        assert reply.data == {"yes": True}
        ctx.reply("deleted", [name, reply.data_as(Answer).yes, reply.type])

    @app.on("answer")
    def answer(ctx: Context) -> None:
        raise AssertionError("a reply reaches no handler")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("delete", "a", id="1")
    question = await client.receive()
    assert (question["type"], question["data"]) == ("confirm", {"delete": "a"})
    assert question["id"].startswith("srv.")
    assert len(question["id"]) == len("srv.") + 22  # 128 bits
    await client.send("answer", {"yes": True}, id=question["id"])
    done = await client.receive()
    assert (done["data"], done["id"]) == (["a", True, "answer"], "1")


async def test_nobody_else_can_answer_and_a_late_answer_is_ignored(start_server, open_raw, engine):
    server = await start_server(App(), engine=engine)
    client, other = await open_raw(server.url), await open_raw(server.url)
    connection_id = client.greeting["data"]["connectionId"]
    asking = asyncio.create_task(server.hub.request(connection_id, "who", timeout_s=20))
    question = await client.receive()
    await other.send("me", "mallory", id=question["id"])
    await other.send("ping")
    assert (await other.receive())["type"] == "pong"
    assert not asking.done()
    await client.send("me", "ann", id=question["id"])
    assert (await asking).data == "ann"
    await client.send("me", "again", id=question["id"])
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"
    assert server.metrics.value("wsctl_messages_dropped_total", reason="no-handler") == 2


async def test_without_an_answer_it_ends_in_time_and_nothing_is_kept(start_server, open_raw):
    server = await start_server(App())
    client = await open_raw(server.url)
    connection_id = client.greeting["data"]["connectionId"]
    with pytest.raises(TimeoutError, match=r"no reply to who within 0\.01 s"):
        await server.hub.request(connection_id, "who", timeout_s=0.01)
    assert not server.hub._requests.waiting


async def test_a_client_that_is_gone_or_goes_ends_it_at_once(start_server, open_raw, engine):
    server = await start_server(App(), engine=engine)
    with pytest.raises(ConnectionGoneError):
        await server.hub.request("nobody", "who")
    client = await open_raw(server.url)
    asking = asyncio.create_task(server.hub.request(client.greeting["data"]["connectionId"], "who", timeout_s=600))
    await client.receive()
    client.ws.transport.abort()
    with pytest.raises(ConnectionGoneError, match="is gone"):
        await asking
    assert not server.hub._requests.waiting


async def test_several_are_asked_at_once_each_for_itself(start_server, open_raw):
    server = await start_server(App())
    clients = [await open_raw(server.url) for _ in range(3)]

    async def answer(client) -> None:
        for _ in range(2):
            question = await client.receive()
            await client.send("answer", [client.greeting["data"]["connectionId"], question["data"]], id=question["id"])

    ids = [client.greeting["data"]["connectionId"] for client in clients]
    asking = [server.hub.request(id, "number", n, timeout_s=20) for id in ids for n in (1, 2)]
    replies = asyncio.gather(*asking)
    await asyncio.gather(*map(answer, clients))
    assert [reply.data for reply in await replies] == [[id, n] for id in ids for n in (1, 2)]


def test_the_data_of_a_message_is_plain_python():
    def message(text: bytes) -> Message:
        return message_of(MessageProtocol.deserialize(b'{"type":"a","timestamp":1' + text + b"}"))

    assert message(b',"data":{"text":"hi","to":[1]}').data["text"] == "hi"
    assert message(b',"data":{"text":"hi"}').data == {"text": "hi"}
    assert message(b"").data is None
    with pytest.raises(InvalidMessageError, match=r"`\$\.data\.yes`"):
        message(b',"data":{"yes":1}').data_as(Answer)


def test_the_data_of_a_message_is_read_as_a_pydantic_model_too():
    class Order(BaseModel):
        item: str
        count: int = Field(alias="howMany")

    def message(data: object) -> Message:
        return Message("order", 1, data, "m1")

    tea = {"item": "tea", "howMany": 2}
    assert message(tea).data_as(Order) == Order(**tea)
    assert message([tea, tea]).data_as(list[Order]) == [Order(**tea)] * 2
    for data, kind, place in (
        ({"item": "tea", "howMany": "two"}, Order, "$.data.howMany"),
        ([tea, {"item": 1, "howMany": 2}], list[Order], "$.data[1].item"),
        ([tea], Order, "$.data"),
        ({"a": {"b": []}}, dict[str, dict[str, Order]], "$.data[...][...]"),
    ):
        with pytest.raises(InvalidMessageError, match=re.escape(f" - at `{place}`") + "$") as refused:
            message(data).data_as(kind)
        assert refused.value.request_id == "m1"
    with pytest.raises(InvalidMessageError, match="Path cannot be read from JSON"):
        message("x").data_as(Path)


async def test_a_spawned_task_of_a_lifespan_asks_too(start_server, open_raw):
    app = App()
    answers: asyncio.Queue[object] = asyncio.Queue()

    @app.on_connect
    def poll(ctx: Context) -> None:
        async def ask(hub: Hub, connection_id: str) -> None:
            answers.put_nowait((await hub.request(connection_id, "poll", timeout_s=20)).data)

        ctx.hub.spawn(ask(ctx.hub, ctx.connection_id))

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("vote", 7, id=(await client.receive())["id"])
    assert await answers.get() == 7

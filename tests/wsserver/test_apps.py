"""The app SDK, used as an app's author would and seen over a socket."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec
import pytest

from wscore.codes import ErrorCode
from wscore.errors import ConfigError
from wsserver import App, Context, Hub, fan_out
from wsserver.connections.handlerqueue import HIGH_WATER


class ChatSend(msgspec.Struct):
    text: str
    to: list[str] = []


class Other(msgspec.Struct):
    text: str


@dataclass
class Point:
    x: int
    y: int


async def test_a_handler_gets_its_typed_data_and_the_sender(start_server, open_raw, engine):
    app = App()

    @app.on("chat.send")
    async def send(ctx: Context, msg: ChatSend) -> None:
        ctx.reply("chat.sent", {"text": msg.text.upper(), "by": ctx.principal.user_id, "in": ctx.session_id})

    @app.on("point")
    def point(ctx: Context, data: Point) -> None:
        ctx.reply("sum", data.x + data.y)

    @app.on("plain")
    async def plain(ctx: Context, data: dict) -> None:  # type: ignore[type-arg]
        ctx.reply("keys", sorted(data))

    @app.on("bare")
    async def bare(ctx: Context) -> None:
        ctx.reply(ctx.type or "", [ctx.request_id, ctx.connection_id])

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    me = client.greeting["data"]
    await client.send("chat.send", {"text": "hi"}, id="1")
    reply = await client.receive()
    assert (reply["type"], reply["id"]) == ("chat.sent", "1")
    assert reply["data"] == {"text": "HI", "by": me["userId"], "in": me["sessionId"]}
    await client.send("point", {"x": 2, "y": 3})
    assert (await client.receive())["data"] == 5
    await client.send("plain", {"b": 1, "a": 2})
    assert (await client.receive())["data"] == ["a", "b"]
    await client.send("bare", id="9")
    assert (await client.receive())["data"] == ["9", me["connectionId"]]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"text": 5}, "`$.data.text`"),
        ({"text": "a", "to": ["b", 7]}, "`$.data.to[1]`"),
        ({}, "`text`"),
        ({"Text": "a"}, "unknown field `Text`, is `text` meant? - at `$.data`"),
        ([], "`$.data`"),
        (None, "`$.data`"),
    ],
)
async def test_data_that_does_not_fit_is_answered_with_the_fields_path(start_server, open_raw, data, place):
    app = App()

    @app.on("chat.send")
    async def send(ctx: Context, msg: ChatSend) -> None:
        raise AssertionError("must not be called")

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("chat.send", data, id="1")
    error = await client.receive()
    assert (error["data"]["code"], error["id"]) == ("INVALID_MESSAGE", "1")
    assert place in error["data"]["message"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_failing_handler_answers_processing_error_logs_and_touches_nobody_else(
    start_server, open_raw, caplog, kind
):
    app = App()

    @app.on("boom.async")
    async def boom(ctx: Context) -> None:
        raise RuntimeError("kaputt")

    @app.on("boom.sync")
    def boom_now(ctx: Context) -> None:
        raise RuntimeError("kaputt")

    server = await start_server(app)
    client, neighbour = await open_raw(server.url), await open_raw(server.url)
    with caplog.at_level(logging.ERROR, "wsctl"):
        await client.send(f"boom.{kind}", id="x")
        error = await client.receive()
    assert (error["data"]["code"], error["id"], error["data"]["retryable"]) == ("PROCESSING_ERROR", "x", True)
    assert "kaputt" not in error["data"]["message"]
    (record,) = [entry for entry in caplog.records if entry.message == "handler.failed"]
    assert record.exc_info is not None
    assert "kaputt" in str(record.exc_info[1])
    for peer in (client, neighbour):
        await peer.send("ping")
        assert (await peer.receive())["type"] == "pong"


async def test_handlers_of_one_connection_run_in_order_and_do_not_hold_up_others(start_server, open_raw, engine):
    app = App()
    gate = asyncio.Event()

    @app.on("slow")
    async def slow(ctx: Context, n: int) -> None:
        await gate.wait()
        ctx.reply("done", n)

    @app.on("quick")
    def quick(ctx: Context, n: int) -> None:
        ctx.reply("done", n)

    server = await start_server(app, engine=engine)
    client, neighbour = await open_raw(server.url), await open_raw(server.url)
    await client.send("slow", 1)
    await client.send("quick", 2)
    await client.send("slow", 3)
    await neighbour.send("quick", 7)
    assert (await neighbour.receive())["data"] == 7
    gate.set()
    assert [(await client.receive())["data"] for _ in range(3)] == [1, 2, 3]


async def test_a_flood_of_slow_messages_holds_the_peer_back_and_loses_nothing(start_server, open_raw, engine):
    app = App()
    gate = asyncio.Event()

    @app.on("slow")
    async def slow(ctx: Context, n: int) -> None:
        await gate.wait()
        ctx.reply("done", n)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    total = HIGH_WATER * 4
    for n in range(total):
        await client.send("slow", n)
    (connection,) = server.connections.all()
    while connection.handlers is None or not connection.handlers.holds_peer_back:
        await asyncio.sleep(0.001)
    gate.set()
    assert [(await client.receive())["data"] for _ in range(total)] == list(range(total))
    assert not connection.handlers.holds_peer_back


async def test_ctx_sends_broadcasts_errors_and_closes(start_server, open_raw, engine):
    app = App()

    @app.on("to")
    async def to(ctx: Context, connection_id: str) -> None:
        ctx.reply("sent", ctx.send(connection_id, "hello", 1))

    @app.on("all")
    async def everyone(ctx: Context, data: msgspec.Raw) -> None:
        ctx.reply("published", ctx.publish("news", data))

    @app.on("deny")
    async def deny(ctx: Context) -> None:
        ctx.error(ErrorCode.FORBIDDEN, "not you", {"why": "test"})

    @app.on("leave")
    async def leave(ctx: Context) -> None:
        ctx.reply("bye")
        ctx.close(1000, "as you wish")

    server = await start_server(app, engine=engine)
    a, b = await open_raw(server.url, session="room"), await open_raw(server.url, session="room")
    await a.send("to", b.greeting["data"]["connectionId"])
    assert (await a.receive())["data"] is True
    assert (await b.receive())["type"] == "hello"
    await a.send("to", "nobody")
    assert (await a.receive())["data"] is False
    await a.send("all", [1])
    news, count = await a.receive(), await a.receive()
    assert (news["type"], news["data"], news["userId"]) == ("news", [1], a.greeting["data"]["userId"])
    assert count["data"] == {"epoch": a.greeting["data"]["recovery"]["epoch"], "seq": news["seq"]}
    assert (await b.receive())["type"] == "news"
    await a.send("deny", id="5")
    error = await a.receive()
    assert (error["id"], error["data"]["code"], error["data"]["details"]) == ("5", "FORBIDDEN", {"why": "test"})
    await a.send("leave")
    envelopes, code, reason = await a.received_until_closed()
    assert ([envelope["type"] for envelope in envelopes], code, reason) == (["bye"], 1000, "as you wish")


async def test_hooks_run_at_start_connect_disconnect_and_stop(start_server, open_raw):
    app = App()
    seen: list[str] = []
    left = asyncio.Event()

    @app.lifespan
    async def lifespan(hub: Hub):
        seen.append("start")
        yield
        seen.append("stop")

    @app.on_connect
    async def hello(ctx: Context) -> None:
        ctx.reply("welcome", ctx.principal.user_id)

    @app.on_disconnect
    async def goodbye(ctx: Context) -> None:
        seen.append(f"gone {ctx.reply('too late')}")
        left.set()

    server = await start_server(app)
    assert seen == ["start"]
    client = await open_raw(server.url)
    assert (await client.receive())["data"] == client.greeting["data"]["userId"]
    await client.ws.close()
    await asyncio.wait_for(left.wait(), 20)
    await server.stop()
    assert seen == ["start", "gone False", "stop"]


async def test_an_app_without_a_message_handler_fans_nothing_out_unless_it_asks(start_server, open_raw):
    silent = await open_raw((await start_server(App())).url)
    await silent.send("message", 1)
    await silent.send("ping")
    assert (await silent.receive())["type"] == "pong"
    app = App()
    app.on("message")(fan_out)
    loud = await open_raw((await start_server(app)).url)
    await loud.send("message", 1)
    assert (await loud.receive())["data"] == 1


def test_a_handler_that_cannot_work_is_refused_when_it_is_registered():
    app = App()
    with pytest.raises(ConfigError, match="belongs to the server"):
        app.on("ping")
    app.on("a")(lambda ctx: None)
    with pytest.raises(ConfigError, match="has a handler already"):
        app.on("a")
    with pytest.raises(ConfigError, match=r"takes \(ctx\) or \(ctx, data\)"):
        app.on("b")(lambda: None)

    def odd(ctx: Context, data: Hub) -> None: ...

    def ambiguous(ctx: Context, data: ChatSend | Other) -> None: ...

    for function in (odd, ambiguous):
        with pytest.raises(ConfigError, match="cannot be read from JSON"):
            app.on("c")(function)

    async def not_a_generator(hub: Hub) -> None: ...

    with pytest.raises(ConfigError, match="one yield"):
        app.lifespan(not_a_generator)


async def test_a_lifespan_that_fails_is_a_clear_error(start_server, caplog):
    app = App()

    @app.lifespan
    async def lifespan(hub: Hub):
        raise RuntimeError("kaputt")
        yield

    with pytest.raises(ConfigError, match="its lifespan failed: RuntimeError: kaputt"):
        await start_server(app)
    assert [record.message for record in caplog.records] == ["app.failed"]

"""Who may join which room: by the app's hook, the token's claim or the profile."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from wscore.errors import ConfigError
from wsserver import App, Context, GuestMode, Profile, RoomAccess, RoomLimits, RoomName, fan_out
from wsserver.connections.replays import Replays


class Enter(msgspec.Struct):
    room: RoomName


async def join(client, room: str, **fields: object) -> dict:
    """Ask to join a room, and return the answer."""
    await client.send("room.join", {"room": room}, **fields)
    return await client.receive()


def prod(**settings):
    return {"profile": Profile.PROD, "guests": GuestMode.OFF, **settings}


async def test_outside_dev_a_token_needs_a_claim_that_allows_the_room(start_server, open_raw, user_token, jwt_key):
    server = await start_server(**prod(jwt_key=jwt_key))
    rooms = ["chat.*", {"pattern": "news", "publish": False}]
    client = await open_raw(server.url, token=user_token(rooms=rooms))
    assert (await join(client, "chat.a"))["type"] == "room.joined"
    assert (await join(client, "chats"))["data"]["code"] == "FORBIDDEN"
    assert (await join(client, "news"))["type"] == "room.joined"
    await client.send("message", 1, room="news", id="m")
    error = await client.receive()
    assert (error["id"], error["data"]["code"]) == ("m", "FORBIDDEN")
    assert "publish" in error["data"]["message"]
    server.hub.publish("headline", "x", room="news")
    assert (await client.receive())["data"] == "x"
    without = await open_raw(server.url, token=user_token("bob"))
    assert (await join(without, "chat.a", id="j"))["data"]["code"] == "FORBIDDEN"


async def test_in_dev_a_claim_decides_where_there_is_one(start_server, open_raw, user_token, jwt_key):
    server = await start_server(jwt_key=jwt_key)
    client = await open_raw(server.url, token=user_token(rooms=["a"]))
    assert (await join(client, "a"))["type"] == "room.joined"
    assert (await join(client, "b"))["data"]["code"] == "FORBIDDEN"
    assert (await join(await open_raw(server.url, token=user_token()), "b"))["type"] == "room.joined"


async def test_a_refresh_that_narrows_leaves_the_rooms_that_are_no_longer_allowed(
    start_server, open_raw, user_token, jwt_key, engine
):
    app = App()
    app.on("message")(fan_out)
    app.on_connect(lambda ctx: ctx.join("given"))
    asked = []

    @app.on_join("team.*")
    async def team(ctx: Context, room: str) -> bool:
        asked.append(room)
        return "team" in ctx.principal.scopes

    @app.on_join("broken")
    def broken(ctx: Context, room: str) -> bool:
        if "team" not in ctx.principal.scopes:
            raise ValueError("the hook is broken")
        return True

    server = await start_server(app, **prod(jwt_key=jwt_key, engine=engine))
    client = await open_raw(server.url, token=user_token(rooms=["a", "b", "c"], scope="team"))
    assert (await client.receive())["data"]["room"] == "given"
    for room in ("a", "b", "c", "team.x", "broken"):
        assert (await join(client, room))["type"] == "room.joined"
    token = user_token(rooms=["a", {"pattern": "c", "publish": False}])
    await client.send("auth_refresh", {"token": token}, id="r")
    got = [await client.receive() for _ in range(5)]
    assert got[0]["type"] == "auth_refreshed"
    left = {envelope["data"]["room"]: envelope["data"]["reason"] for envelope in got if envelope["type"] == "room.left"}
    assert left.keys() == {"b", "team.x", "broken"}
    assert all(left.values())
    assert [envelope["data"]["code"] for envelope in got if envelope["type"] == "error"] == ["PROCESSING_ERROR"]
    await client.send("message", 1, room="a")
    await client.send("message", 2, room="b")
    await client.send("message", 3, room="c")
    await client.send("message", 4, room="given")
    results = [await client.receive() for _ in range(4)]
    assert {envelope["room"] for envelope in results if envelope["type"] == "message"} == {"a", "given"}
    assert [envelope["data"]["code"] for envelope in results if envelope["type"] == "error"] == ["FORBIDDEN"] * 2
    assert asked == ["team.x", "team.x"]


async def test_a_join_hook_decides_alone_and_sees_the_claim(start_server, open_raw, user_token, jwt_key, engine):
    seen = []
    app = App()
    app.on("message")(fan_out)

    @app.on_join("*")
    def anything(ctx: Context, room: str) -> bool:
        seen.append((room, ctx.principal.rooms))
        return room == "yes"

    @app.on_join("listen.*")
    async def listen(ctx: Context, room: str) -> RoomAccess:
        await asyncio.sleep(0)
        return RoomAccess.LISTEN

    @app.on_join("bad.*")
    def forgets_to_answer(ctx: Context) -> None:
        return None

    server = await start_server(app, jwt_key=jwt_key, engine=engine)
    client = await open_raw(server.url, token=user_token(rooms=["no"]))
    assert (await join(client, "yes"))["type"] == "room.joined"
    assert (await join(client, "no"))["data"]["code"] == "FORBIDDEN"
    assert [(room, [grant.pattern for grant in rooms]) for room, rooms in seen] == [("yes", ["no"]), ("no", ["no"])]
    assert (await join(client, "listen.a"))["type"] == "room.joined"
    await client.send("message", 1, room="listen.a")
    assert (await client.receive())["data"]["code"] == "FORBIDDEN"
    assert (await join(client, "bad.a", id="b"))["data"]["code"] == "PROCESSING_ERROR"
    await client.send("message", 1, room="bad.a")
    assert (await client.receive())["data"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("pattern", ["", "a*b", "a b", "**", "x" * 129, 7])
def test_what_is_no_pattern_has_no_hook(pattern):
    with pytest.raises(ConfigError, match="no pattern"):
        App().on_join(pattern)


def test_a_pattern_has_one_hook_which_takes_a_context_and_perhaps_the_room():
    app = App()
    app.on_join("a.*")(lambda ctx, room: True)
    with pytest.raises(ConfigError, match="already"):
        app.on_join("a.*")
    for wrong in (lambda: True, lambda ctx, room, more: True):
        with pytest.raises(ConfigError, match=r"\(ctx\) or \(ctx, room\)"):
            app.on_join("b")(wrong)


async def test_an_app_that_includes_others_has_their_join_hooks(start_server, open_raw):
    other, app = App(), App()
    other.on_join("a")(lambda ctx, room: False)
    app.on_join("b")(lambda ctx, room: False)
    app.include(other, prefix="x.")
    app.include(other, prefix="y.")
    clashing = App()
    clashing.on_join("b")(lambda ctx, room: True)
    with pytest.raises(ConfigError, match="already"):
        app.include(clashing)
    client = await open_raw((await start_server(app)).url)
    for room, type in (("a", "error"), ("b", "error"), ("c", "room.joined")):
        assert (await join(client, room))["type"] == type


async def test_a_handler_may_take_messages_for_a_room_alone_from_its_listeners_too(start_server, open_raw, engine):
    app = App()
    app.on_join("hall")(lambda ctx, room: RoomAccess.LISTEN)

    @app.on("last", room=RoomAccess.LISTEN)
    def last(ctx: Context) -> None:
        ctx.reply("lasted", ctx.room)

    @app.on("say", room=RoomAccess.PUBLISH)
    async def say(ctx: Context) -> None:
        ctx.reply("said", ctx.room)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    for room in ("hall", "open"):
        assert (await join(client, room))["type"] == "room.joined"
    answers = {}
    for type in ("last", "say"):
        for room in ("hall", "open", "elsewhere", None):
            await client.send(type, room=room, id="1")
            answer = await client.receive()
            answers[type, room] = answer["data"]["code"] if answer["type"] == "error" else answer["type"]
    assert answers == {
        ("last", "hall"): "lasted",
        ("last", "open"): "lasted",
        ("last", "elsewhere"): "FORBIDDEN",
        ("last", None): "INVALID_MESSAGE",
        ("say", "hall"): "FORBIDDEN",
        ("say", "open"): "said",
        ("say", "elsewhere"): "FORBIDDEN",
        ("say", None): "INVALID_MESSAGE",
    }


async def test_what_a_listener_may_send_is_looked_at_when_its_turn_comes(start_server, open_raw, engine):
    part = App()

    @part.on("slow")
    async def slow(ctx: Context) -> None:
        await asyncio.sleep(0.01)
        ctx.join("hall", access=RoomAccess.LISTEN)

    @part.on("last", room=RoomAccess.LISTEN)
    def last(ctx: Context) -> None:
        ctx.reply("lasted")

    part.on("say")(lambda ctx: ctx.reply("said"))
    app = App()
    app.include(part, prefix="a.")
    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("a.slow")
    await client.send("a.last", room="hall")
    await client.send("a.say", room="hall")
    await client.send("a.last", room="elsewhere")
    answers = [await client.receive() for _ in range(4)]
    assert [answer["data"].get("code", "") if answer["type"] == "error" else answer["type"] for answer in answers] == [
        "room.joined",
        "lasted",
        "FORBIDDEN",
        "FORBIDDEN",
    ]


def test_a_handler_that_nobody_could_reach_is_refused():
    with pytest.raises(ConfigError, match=r"use RoomAccess\.LISTEN"):
        App().on("say", room=RoomAccess.NONE)(lambda ctx: None)


async def test_a_room_that_a_client_names_in_data_is_checked_where_the_data_is(start_server, open_raw):
    app = App()

    @app.on("enter")
    def enter(ctx: Context, data: Enter) -> None:
        ctx.join(data.room)

    server = await start_server(app)
    client = await open_raw(server.url)
    for room in ("a b", "", "x" * 129, "lobby\n"):
        await client.send("enter", {"room": room}, id="1")
        error = (await client.receive())["data"]
        assert (error["code"], "$.data.room" in error["message"]) == ("INVALID_MESSAGE", True), error
    await client.send("enter", {"room": "lobby"})
    assert (await client.receive())["type"] == "room.joined"


async def test_a_token_that_was_replaced_while_its_join_waited_lets_nobody_in(
    start_server, open_raw, user_token, jwt_key, engine
):
    app = App()
    asked, may_answer = asyncio.Queue(), asyncio.Event()

    @app.on_join("vip")
    async def vip(ctx: Context, room: str) -> bool:
        is_vip = "vip" in ctx.principal.scopes
        asked.put_nowait(is_vip)
        await may_answer.wait()  # a database, say
        return is_vip

    server = await start_server(app, engine=engine, jwt_key=jwt_key)
    client = await open_raw(server.url, token=user_token(scope="vip"))
    await client.send("room.join", {"room": "vip"}, id="j")
    assert await asked.get()
    await client.send("auth_refresh", {"token": user_token(scope="")})
    assert (await client.receive())["type"] == "auth_refreshed"
    may_answer.set()
    answer = await client.receive()
    assert (answer["id"], answer["type"], answer["data"].get("code")) == ("j", "error", "FORBIDDEN")
    assert not await asked.get()
    assert await server.hub.members("vip") == []


async def test_a_claim_that_was_given_up_while_its_replay_waited_lets_nobody_in(
    start_server, open_raw, user_token, jwt_key, monkeypatch
):
    waiting, may_go_on = asyncio.Event(), asyncio.Event()

    async def turn(self, connection) -> None:  # as for a client that has not read the replay before
        waiting.set()
        await may_go_on.wait()

    monkeypatch.setattr(Replays, "must_wait", lambda self, connection: True)
    monkeypatch.setattr(Replays, "turn", turn)
    server = await start_server(**prod(jwt_key=jwt_key))
    client = await open_raw(server.url, token=user_token(rooms=["vip"]))
    await client.send("room.join", {"room": "vip", "recovery": {"epoch": "a", "seq": 0}}, id="j")
    await waiting.wait()
    await client.send("auth_refresh", {"token": user_token(rooms=[])})
    assert (await client.receive())["type"] == "auth_refreshed"
    may_go_on.set()
    answer = await client.receive()
    assert (answer["id"], answer["type"], answer["data"].get("code")) == ("j", "error", "FORBIDDEN")


async def test_a_room_too_many_that_the_app_joins_for_a_client_is_answered_as_room_join_is(
    start_server, open_raw, caplog
):
    app = App()

    @app.on("enter")
    def enter(ctx: Context, room: str) -> None:
        ctx.join(room)

    server = await start_server(app, rooms=RoomLimits(1))
    client = await open_raw(server.url)
    for room in ("a", "b"):
        await client.send("enter", room, id=room)
    assert (await client.receive())["type"] == "room.joined"
    error = await client.receive()
    assert (error["id"], error["data"]["code"], error["data"]["details"]) == ("b", "FORBIDDEN", {"limit": 1})
    assert server.metrics.value("wsctl_handlers_failed_total") == 0
    assert "handler.failed" not in caplog.text

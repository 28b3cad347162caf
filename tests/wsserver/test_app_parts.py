"""State of a connection, resources of lifespans, and apps made of apps, as their authors use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from wsclient import Client
from wscore.errors import ConfigError
from wsserver import App, Context, Hub

HANG_S = 20


@dataclass
class Player:
    moves: list[int] = field(default_factory=list)


class Database:
    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.is_open = True


class Cache:
    def __init__(self, database: Database) -> None:
        self.database = database


async def test_the_state_of_a_connection_is_its_own_and_lives_as_long_as_it_does(start_server, engine):
    app = App(state=Player)
    ends: list[list[int]] = []

    @app.on("move")
    def move(ctx: Context[Player], square: int) -> None:
        ctx.state.moves.append(square)
        ctx.reply("moves", ctx.state.moves)

    @app.on_disconnect
    def left(ctx: Context[Player]) -> None:
        ends.append(ctx.state.moves)

    server = await start_server(app, engine=engine)
    async with Client(server.url) as ann, Client(server.url) as bob:
        await ann.request("move", 1, timeout_s=HANG_S)
        assert bytes((await bob.request("move", 2, timeout_s=HANG_S)).data) == b"[2]"
        assert bytes((await ann.request("move", 3, timeout_s=HANG_S)).data) == b"[1,3]"
        await bob.close()
        await ann.close()
    await server.stop()
    assert sorted(ends) == [[1, 3], [2]]


async def test_without_a_type_the_state_takes_any_attribute(start_server):
    app = App()

    @app.on("name")
    def name(ctx: Context, name: str) -> None:
        ctx.state.name = name

    @app.on("who")
    def who(ctx: Context) -> None:
        ctx.reply("who", getattr(ctx.state, "name", None))

    server = await start_server(app)
    async with Client(server.url) as client:
        assert bytes((await client.request("who", timeout_s=HANG_S)).data) == b"null"
        await client.send("name", "ann")
        assert bytes((await client.request("who", timeout_s=HANG_S)).data) == b'"ann"'


async def test_lifespans_yield_what_handlers_find_by_its_type_each_on_top_of_those_before_it(start_server):
    app, log = App(), []

    @app.lifespan
    async def database(hub: Hub) -> AsyncIterator[Database]:
        opened = Database(log)
        yield opened
        opened.is_open = False
        log.append("database closed")

    @app.lifespan
    async def cache(hub: Hub) -> AsyncIterator[Cache]:
        made = Cache(hub.resource(Database))
        yield made
        log.append(f"cache closed, database open: {made.database.is_open}")

    @app.on("look")
    async def look(ctx: Context) -> None:
        ctx.reply("found", ctx.resource(Cache).database is ctx.hub.resource(Database))

    server = await start_server(app)
    async with Client(server.url) as client:
        assert bytes((await client.request("look", timeout_s=HANG_S)).data) == b"true"
    await server.stop()
    assert log == ["cache closed, database open: True", "database closed"]
    with pytest.raises(LookupError, match="there is no Database now: lifespans have yielded nothing"):
        server.hub.resource(Database)


async def test_a_resource_is_found_by_what_it_is_a_kind_of_unless_two_are(start_server):
    class Postgres(Database):
        pass

    class Sqlite(Database):
        pass

    app = App()

    @app.lifespan
    async def first(hub: Hub) -> AsyncIterator[Postgres]:
        yield Postgres([])

    @app.lifespan
    async def second(hub: Hub) -> AsyncIterator[Sqlite]:
        assert isinstance(hub.resource(Database), Postgres)
        yield Sqlite([])

    server = await start_server(app)
    assert isinstance(server.hub.resource(Sqlite), Sqlite)
    with pytest.raises(LookupError, match=r"2 resources that are a Database now: .* Postgres, Sqlite"):
        server.hub.resource(Database)


async def test_two_resources_of_one_type_end_the_start_and_the_first_one_is_closed(start_server):
    app, log = App(), []

    async def database(hub: Hub) -> AsyncIterator[Database]:
        yield Database(log)
        log.append("closed")

    app.lifespan(database)
    app.lifespan(database)
    with pytest.raises(ConfigError, match="two lifespans yield a Database"):
        await start_server(app)
    assert log == ["closed", "closed"]


def board() -> App:
    """Make an app that others include."""
    app = App(state=Player)
    illegal = app.error("ILLEGAL_MOVE", "No.")

    @app.on("move")
    def move(ctx: Context[Player], square: int) -> None:
        if square < 0:
            raise illegal()
        ctx.state.moves.append(square)
        ctx.reply("moved", ctx.state.moves)

    @app.on_connect
    def hello(ctx: Context) -> None:
        ctx.send(ctx.connection_id, "board.hello")

    @app.lifespan
    async def database(hub: Hub) -> AsyncIterator[Database]:
        yield Database([])

    return app


async def test_an_app_is_made_of_others_each_behind_its_prefix(start_server, engine):
    app, other = App(), board()
    app.include(other, prefix="chess.")
    app.include(other, prefix="go.")

    @app.on("move")
    def move(ctx: Context) -> None:
        ctx.reply("own")

    server = await start_server(app, engine=engine)
    async with Client(server.url) as client:
        for type in ("session_created", "board.hello"):
            await client.receive(type, timeout_s=HANG_S)
        assert bytes((await client.request("chess.move", 1, timeout_s=HANG_S)).data) == b"[1]"
        assert bytes((await client.request("go.move", 2, timeout_s=HANG_S)).data) == b"[1,2]"
        assert (await client.request("move", timeout_s=HANG_S)).type == "own"
        with pytest.raises(Exception, match="ILLEGAL_MOVE"):
            await client.request("go.move", -1, timeout_s=HANG_S)
        await client.send("sync.never")
        assert (await client.receive(timeout_s=HANG_S)).type == "error"  # and no second hello before it
    assert server.hub.resource(Database)


def test_what_does_not_fit_together_is_refused_when_it_is_included():
    app = App()
    app.on("chess.move")(lambda ctx: None)
    with pytest.raises(ConfigError, match=r"chess\.move: this message type has a handler already"):
        app.include(board(), prefix="chess.")
    with pytest.raises(ConfigError, match="is no message type"):
        App().include(board(), prefix="chess/")
    with pytest.raises(ConfigError, match="states of two types"):
        App(state=dict).include(board())
    first, second = App(), App()
    first.error("ILLEGAL_MOVE", "Never.")
    with pytest.raises(ConfigError, match="declared already"):
        first.include(board())
    with pytest.raises(ConfigError, match="cannot include itself"):
        second.include(second)


def test_an_included_app_takes_nothing_more():
    app, other = App(), board()
    app.include(other)
    for register in (other.on("late"), other.on_connect, other.on_disconnect):
        with pytest.raises(ConfigError, match="register everything before"):
            register(lambda ctx: None)
    with pytest.raises(ConfigError, match="register everything before"):
        other.error("LATE", "")

"""An app in a module of somebody's own, run by `wsctl serve`: its tasks, its lifespans, and the apps it is made of."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from wscore.guest import mint_guest_token

HANG_S = 60
APP = """
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from wsserver import App, Context, Hub

app = App()


def note(text: str) -> None:
    with Path("order.txt").open("a") as file:
        print(text, file=file)


class Database:
    name = "the database"


class Cache:
    def __init__(self, database: Database) -> None:
        self.database = database


@app.lifespan
async def database(hub: Hub) -> AsyncIterator[Database]:
    note("database starts")
    yield Database()
    note("database ends")
    # database at its end


@app.lifespan
async def cache(hub: Hub) -> AsyncIterator[Cache]:
    note("cache starts")
    # cache at its start
    yield Cache(hub.resource(Database))
    note("cache ends")
    # cache at its end


async def sweep() -> None:
    note("sweep begins")
    try:
        await asyncio.Event().wait()
    finally:
        note("sweep is cancelled")


async def report(number: int) -> None:
    raise ValueError(f"no report {number}")


@app.lifespan
async def sweeping(hub: Hub) -> AsyncIterator[None]:
    hub.spawn(sweep(), name="sweep")
    yield


@app.on("report")
def ask_for_report(ctx: Context, number: int) -> None:
    ctx.hub.spawn(report(number), name=f"report {number}")
    ctx.reply("started")


@app.on("where")
def where(ctx: Context) -> None:
    ctx.reply("where", ctx.resource(Cache).database.name)
"""
WHOLE = """
from wsserver import App, Context

board = App()
FULL = board.error("FULL", "The board is full.")


@board.on("move")
def move(ctx: Context, square: int) -> None:
    if square > 9:
        raise FULL()
    ctx.reply("board.moved", square)


@board.on_connect
def hello(ctx: Context) -> None:
    ctx.publish("board.hello")


app = App()
app.include(board, prefix="chess.")
app.include(board, prefix="draughts.")
"""


class Talk:
    """A client that is nothing but a WebSocket."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        assert self.receive()["type"] == "session_created"

    def ask(self, type: str, data: object = None) -> dict:
        self.ws.send(json.dumps({"type": type, "timestamp": 1, "id": "1", "data": data}))
        return self.receive()

    def receive(self) -> dict:
        return json.loads(self.ws.recv(HANG_S))


@contextmanager
def talking(url: str) -> Iterator[Talk]:
    token = mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)
    with connect(f"{url}?token={token}", proxy=None) as ws:
        yield Talk(ws)


@pytest.fixture
def shop(tmp_path: Path):
    """Write the app as a module, with a line at one of its places."""

    def write(place: str = "", line: str = "") -> None:
        (tmp_path / "shop.py").write_text(APP.replace(f"# {place}", line) if place else APP)

    return write


@pytest.fixture
def order(tmp_path: Path):
    return lambda: (tmp_path / "order.txt").read_text().splitlines()


def test_a_task_that_raises_is_logged_and_the_server_goes_on_and_one_that_runs_ends_before_the_lifespans(
    serving, shop, order
):
    shop()
    server = serving("shop:app")
    with talking(server.url) as client:
        assert client.ask("report", 7)["type"] == "started"
        failed = server.wait_for("task.failed")
        assert failed["task"] == "report 7"
        assert "ValueError: no report 7" in json.dumps(failed)
        assert client.ask("where")["data"] == "the database"
    assert server.stop() == 0
    assert order() == [
        *("database starts", "cache starts", "sweep begins"),
        *("sweep is cancelled", "cache ends", "database ends"),
    ]


def test_when_a_lifespan_fails_to_start_those_before_it_end_and_the_command_says_why(wsctl, shop, order):
    shop("cache at its start", 'raise OSError("no such host")')
    result = wsctl("serve", "shop:app", "--port", "0")
    assert (result.returncode, result.stdout) == (2, "")
    last = result.stderr.splitlines()[-1]
    assert last == "wsctl: APP: its lifespan failed: OSError: no such host (in shop.cache)"
    assert "app.failed lifespan=shop.cache" in result.stderr  # with where it comes from, for who has written it
    assert order() == ["database starts", "cache starts", "database ends"]


@pytest.mark.parametrize("place", ["cache at its end", "database at its end"])
def test_when_a_lifespan_fails_to_end_the_others_end_all_the_same_and_the_command_fails(serving, shop, order, place):
    shop(place, 'raise OSError("disk full")')
    server = serving("shop:app")
    assert server.stop() == 1
    assert order()[-2:] == ["cache ends", "database ends"]
    assert any("disk full" in line for line in server.lines)


def test_an_app_that_is_included_twice_answers_behind_both_prefixes_and_greets_once(serving, tmp_path):
    (tmp_path / "games.py").write_text(WHOLE)
    server = serving("games:app")
    with talking(server.url) as client:
        assert client.receive()["type"] == "board.hello"
        for prefix in ("chess", "draughts"):
            assert client.ask(f"{prefix}.move", 3)["data"] == 3
            assert client.ask(f"{prefix}.move", 10)["data"]["code"] == "FULL"
        assert client.ask("move", 3)["data"]["code"] == "INVALID_MESSAGE"
    assert server.stop() == 0

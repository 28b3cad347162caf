"""Declared outgoing types, and pydantic models as data: read, refused with the field's place, and sent."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import msgspec
import pytest
from pydantic import BaseModel, Field

from tests.pages import ROOT, blocks
from wscore.errors import ConfigError
from wsserver import App, Context, GuestMode, Profile, UnsendableError
from wsserver.testing.fixtures import serve_app  # noqa: F401  it is a fixture


class Moved(msgspec.Struct):
    square: int


@dataclass
class Tally:
    moves: int


class Order(BaseModel):
    item: str = Field(min_length=1)
    count: int = Field(gt=0, alias="howMany")


def board() -> App:
    app = App()
    app.sends("moved", Moved)

    @app.on("move", replies=Tally)
    def move(ctx: Context, data: dict) -> None:  # type: ignore[type-arg]
        try:
            ctx.publish("moved", data["publish"])
            ctx.reply("tally", data["reply"])
        except UnsendableError as error:
            ctx.send(ctx.connection_id, "refused", str(error))

    return app


@pytest.mark.parametrize(
    ("published", "replied", "problem"),
    [
        ({"square": 7}, {"moves": 1}, None),
        ({"square": "7"}, {"moves": 1}, "Expected `int`, got `str` - at `$.data.square`"),
        ({"square": 7}, {"moves": None}, "Expected `int`, got `null` - at `$.data.moves`"),
    ],
)
async def test_the_dev_profile_holds_what_is_sent_against_what_was_declared(
    start_server, open_raw, published, replied, problem
):
    server = await start_server(board())
    client = await open_raw(server.url)
    await client.send("move", {"publish": published, "reply": replied})
    answer = await client.receive_type("tally" if problem is None else "refused")
    if problem is not None:
        assert answer["data"].endswith(problem)


async def test_prod_looks_at_nothing_that_is_sent(start_server, open_raw):
    server = await start_server(board(), profile=Profile.PROD, guests=GuestMode.UNSIGNED)
    client = await open_raw(server.url)
    await client.send("move", {"publish": {"square": "7"}, "reply": {"moves": None}})
    assert (await client.receive_type("tally"))["data"] == {"moves": None}


async def test_what_an_included_app_declares_holds_behind_its_prefix(start_server, open_raw):
    app = App()
    app.include(board(), prefix="chess.")
    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("chess.move", {"publish": {"square": 7}, "reply": {"moves": "x"}})
    assert "the reply to 'chess.move'" in (await client.receive_type("refused"))["data"]


def test_what_cannot_be_declared_is_refused_at_once():
    app = App()
    app.sends("moved", Moved)
    with pytest.raises(ConfigError, match="declared already"):
        app.sends("moved", Moved)
    with pytest.raises(ConfigError, match="belongs to the server"):
        app.sends("session_created", Moved)
    with pytest.raises(ConfigError, match="cannot be read from JSON"):
        app.sends("other", object)
    with pytest.raises(ConfigError, match="cannot be read from JSON"):
        app.on("x", replies=object)(lambda ctx: None)
    other = App()
    other.sends("moved", Tally)
    with pytest.raises(ConfigError, match="declare different data"):
        app.include(other)


async def test_the_orders_of_the_page_are_taken_by_pydantics_rules(serve_app, monkeypatch):  # noqa: F811
    (block,) = [text for text in blocks(ROOT / "docs" / "apps.md", "python") if "(BaseModel)" in text]
    shop = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)
    exec(compile(block, "shop.py", "exec"), vars(shop))
    server = await serve_app(shop.app)
    ann, bob = await server.connect("ann", session="s"), await server.connect("bob", session="s")
    await ann.send("order.place", [{"item": "tea", "howMany": 2}])
    assert (await bob.receive("order.placed")).data == {"item": "tea", "howMany": 2}
    await ann.send("order.place", [{"item": "tea", "howMany": 0}])
    error = await ann.receive_error("INVALID_MESSAGE")
    assert "`$.data[0].howMany`" in error.data["message"]
    await bob.expect_nothing()


async def test_a_pydantic_model_is_data_like_any_other(start_server, open_raw, engine):
    app = App()
    app.sends("ordered", Order)

    @app.on("order")
    def order(ctx: Context, order: Order) -> None:
        assert isinstance(order, Order)
        ctx.reply("ordered", order)

    @app.on("orders")
    async def orders(ctx: Context, orders: list[Order]) -> None:
        ctx.reply("count", sum(order.count for order in orders))

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("order", {"item": "tea", "howMany": 2})
    assert (await client.receive())["data"] == {"item": "tea", "howMany": 2}
    await client.send("orders", [{"item": "tea", "howMany": 2}, {"item": "milk", "howMany": 3}])
    assert (await client.receive())["data"] == 5
    for data, place in (
        ({"item": "tea", "howMany": 0}, "`$.data.howMany`"),
        ({"item": ""}, "`$.data.item`"),
        (None, "`$.data`"),
    ):
        await client.send("order", data, id="1")
        error = await client.receive()
        assert (error["data"]["code"], error["id"]) == ("INVALID_MESSAGE", "1")
        assert place in error["data"]["message"]
    await client.send("orders", [{"item": "tea", "howMany": 2}, {"item": "milk"}])
    assert "`$.data[1].howMany`" in (await client.receive())["data"]["message"]

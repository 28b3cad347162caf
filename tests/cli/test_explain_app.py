"""`wsctl explain --app`: what an app handles and sends, and its own error codes, as a writer of clients reads it."""

from __future__ import annotations

import json
import textwrap

import pytest

from tests.pages import ROOT, blocks

APP = '''
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from wsserver import App, Context, RoomAccess, fan_out

app = App()


class Place(msgspec.Struct):
    x: int


class Move(msgspec.Struct, rename="camel"):
    game_id: str
    squares: list[int]
    to: Place
    kind: Literal["quick", "slow"] = "quick"
    said_by: str | None = None


class Order(BaseModel):
    item: str = Field(min_length=1)
    count: int = Field(gt=0, alias="howMany")


app.sends("game.moved", Move)
app.sends("order.placed", Order)
BUSY = app.error("TABLE_BUSY", "The table is busy.", retryable=True)
app.on("message")(fan_out)


@app.on("move", replies=Place, room=RoomAccess.PUBLISH)
def move(ctx: Context, data: Move) -> None:
    """Move a piece.

    Whoever is not at the table is answered FORBIDDEN.
    """


@app.on("order", outlives_client=True)
async def order(ctx: Context, data: list[Order]) -> None: ...


@app.on("order.placed")
def echo(ctx: Context) -> None: ...


class Open(msgspec.Struct, tag="open"):
    seats: dict[str, int]


class Close(msgspec.Struct, tag="close"):
    pass


@app.on("table")
def table(ctx: Context, data: Open | Close) -> None: ...


@app.on("page")
def page(ctx: Context, data: Place | None) -> None: ...


class Entry(msgspec.Struct):
    said: object


@app.on("history", replies=list[Entry])
def history(ctx: Context, data: Entry) -> None: ...


empty = App()
'''


@pytest.fixture
def explain(wsctl, tmp_path):
    (tmp_path / "board.py").write_text(APP)
    return lambda *arguments, **options: wsctl("explain", "--app", "board:app", *arguments, **options)


def test_a_type_is_explained_by_what_its_handler_takes_and_answers(explain):
    result = explain("move")
    assert result.returncode == 0
    facts = dict(line.strip().split("  ", 1) for line in result.stdout.splitlines()[1:] if line.startswith("  room"))
    assert facts == {"room": "      must name one; whoever may publish there may send it"}
    text = " ".join(result.stdout.split())
    assert text.startswith("move meaning Move a piece. data gameId: string, squares: array of integer, to: Place")
    assert 'kind?: "quick" or "slow", saidBy?: string or null sent from the client reply data x: integer' in text
    assert "FORBIDDEN" not in text
    assert text.endswith("handled by board.move")


def test_a_program_reads_the_schema(explain):
    move = json.loads(explain("move", "--json").stdout)
    assert move["schema"]["$defs"]["Move"]["required"] == ["gameId", "squares", "to"]
    assert move["reply schema"]["$defs"]["Place"]["properties"] == {"x": {"type": "integer"}}
    order = json.loads(explain("order", "--json").stdout)
    assert (order["data"], order["its client gone"]) == (
        "array of (item: string, howMany: integer)",
        "it is handled all the same",
    )
    assert order["schema"]["$defs"]["Order"]["properties"]["howMany"]["exclusiveMinimum"] == 0


def test_what_may_be_any_object_is_any_json(explain):
    facts = json.loads(explain("history", "--json").stdout)
    assert (facts["data"], facts["reply data"]) == ("said: any JSON", "array of (said: any JSON)")


def test_the_app_is_listed_with_what_it_sends_and_its_codes(explain):
    listed = [json.loads(line) for line in explain("--json").stdout.splitlines()]
    assert {fact["code"]: fact.get("sent") for fact in listed} == {
        "message": "both ways",
        "move": "from the client",
        "order": "from the client",
        "page": "from the client",
        "history": "from the client",
        "table": "from the client",
        "order.placed": "both ways",
        "game.moved": "from the server",
        "TABLE_BUSY": None,
    }
    placed = next(fact for fact in listed if fact["code"] == "order.placed")
    assert (placed["data"], placed["data from the server"]) == ("none", "item: string, howMany: integer")
    assert next(fact for fact in listed if fact["code"] == "page")["data"] == "(x: integer) or null"
    kinds = '(type: "open", seats: object of integer) or (type: "close")'
    assert next(fact for fact in listed if fact["code"] == "table")["data"] == kinds
    rows = explain().stdout
    assert "order         from the client: array of (item: string, howMany: integer)\n" in rows
    assert "TABLE_BUSY    The table is busy.\n" in rows


def test_a_code_of_the_app_is_explained_and_those_of_wsctl_still_are(explain):
    assert "retryable   yes" in explain("TABLE_BUSY").stdout
    assert explain("4002").stdout.startswith("4002 connection timeout\n")
    unknown = explain("mov")
    assert (unknown.returncode, "did you mean move?" in unknown.stderr) == (2, True)


def test_the_app_may_be_named_by_the_environment_and_is_refused_with_its_place(explain, wsctl):
    assert wsctl("explain", "move", WSCTL_APP="board:app").returncode == 0
    missing = wsctl("explain", "--app", "board:nothing")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("wsctl: --app: board has no 'nothing'")
    empty = wsctl("explain", "--app", "board:empty")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "handles no message" in empty.stderr


def test_the_example_of_the_page_is_what_wsctl_says(wsctl, tmp_path):
    (game,) = [text for text in blocks(ROOT / "docs" / "apps.md", "python") if 'app.sends("game.moved"' in text]
    (tmp_path / "game.py").write_text(game)
    page = (ROOT / "docs" / "cli.md").read_text()
    example = page.partition("$ wsctl explain --app game:app game.move\n")[2].partition("\n\n")[0]
    assert wsctl("explain", "--app", "game:app", "game.move").stdout == textwrap.dedent(example) + "\n"

"""The game of examples/, by its players."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.conftest import Serving, Wsctl
from wsserver.testing import AppClient, AppServer, serving

SECRET = "a secret for tests, 32 bytes or more"


@pytest.fixture
def game(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("game")


@pytest.fixture
def play(game: ModuleType, tmp_path: Path) -> Callable[[], Any]:
    """Serve the game; what is served again has the same database."""
    settings = game.GameSettings(database=str(tmp_path / "game.db"), turn_s=30)
    return lambda: serving(game.app, app_settings=[settings])


async def start(server: AppServer) -> tuple[AppClient, AppClient, str]:
    """Let ann challenge bob, who begins; both are in the game's room."""
    ann, bob = [await server.connect(user) for user in ("ann", "bob")]
    room = (await ann.request("game.start", "bob")).data["room"]
    assert (await bob.receive("game.invited")).data == {"room": room, "by": "ann"}
    for player in (ann, bob):
        assert (await player.request("room.join", {"room": room})).type == "room.joined"
    return ann, bob, room


async def test_three_in_a_row_win(play):
    async with play() as server:
        ann, bob, room = await start(server)
        scores = await server.connect(rooms=["game.scores"])
        for number, square in enumerate("01428"):  # bob, who begins, takes a diagonal
            player, other = (bob, ann) if number % 2 == 0 else (ann, bob)
            await player.send("game.move", square, room=room)
            for watcher in (player, other):
                assert (await watcher.receive("game.moved")).data == {"moves": "01428"[: number + 1]}
        assert (await ann.receive("game.over")).data == {"winner": "bob"}
        assert (await scores.receive("game.scores")).data == {"bob": 1}


async def test_moves_out_of_turn_and_onto_taken_squares_are_refused(play):
    async with play() as server:
        ann, bob, room = await start(server)
        assert (await ann.request("game.move", "0", room=room)).data["code"] == "NOT_YOUR_TURN"
        await bob.send("game.move", "0", room=room)
        await ann.receive("game.moved")
        assert (await ann.request("game.move", "0", room=room)).data["code"] == "BAD_SQUARE"
        assert (await ann.request("game.move", "9", room=room)).data["code"] == "BAD_SQUARE"
        assert (await ann.request("game.move", "1")).data["code"] == "INVALID_MESSAGE"


async def test_others_watch_and_cannot_play(play):
    async with play() as server:
        _, bob, room = await start(server)
        eve = await server.connect("eve", rooms=[room])
        await bob.send("game.move", "4", room=room)
        assert (await eve.receive("game.moved")).data == {"moves": "4"}
        assert (await eve.request("game.move", "0", room=room)).data["code"] == "FORBIDDEN"


async def test_who_takes_too_long_loses_and_each_turn_has_its_time(play):
    async with play() as server:
        ann, bob, room = await start(server)
        await server.advance(29)
        await bob.send("game.move", "4", room=room)
        await ann.receive("game.moved")
        await server.advance(29)
        await ann.expect_nothing("game.over")
        await server.advance(2)
        assert (await bob.receive("game.over")).data == {"winner": "bob"}
        assert (await ann.request("game.move", "0", room=room)).data["code"] == "NOT_YOUR_TURN"


async def test_a_player_who_lost_the_connection_plays_on(play):
    async with play() as server:
        ann, bob, room = await start(server)
        await bob.abort()
        bob = await server.connect("bob", rooms=[room])
        await bob.send("game.move", "4", room=room)
        assert (await ann.receive("game.moved")).data == {"moves": "4"}


async def test_a_game_goes_on_after_a_restart(play):
    async with play() as server:
        ann, bob, room = await start(server)
        await bob.send("game.move", "4", room=room)
        await ann.receive("game.moved")
    async with play() as server:
        ann, bob = [await server.connect(user, rooms=[room]) for user in ("ann", "bob")]
        await ann.send("game.move", "0", room=room)
        assert (await bob.receive("game.moved")).data == {"moves": "40"}
        await server.advance(31)
        assert (await ann.receive("game.over")).data == {"winner": "ann"}


def test_it_is_served_from_its_folder_and_loses_nothing_when_it_ends(
    serve_example: Callable[..., Serving], wsctl: Wsctl, tmp_path: Path
) -> None:
    database = tmp_path / "game.db"
    server = serve_example("game", WSCTL_APP_DATABASE=str(database), WSCTL_JWT_SECRET=SECRET)
    command = ["connect", server.url, "--sub", "ann", "--send", json.dumps({"type": "game.start", "data": "bob"})]
    result = wsctl(*command, "--expect", "game.started", WSCTL_JWT_SECRET=SECRET)
    assert result.returncode == 0, result.stderr
    room = json.loads(result.stdout.splitlines()[-1])["data"]["room"]
    lines = [
        {"type": "room.join", "data": {"room": room}, "id": "1"},
        {"type": "game.move", "room": room, "data": "4", "id": "2"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    moved = wsctl("connect", server.url, "--sub", "bob", "--until", "game.moved", stdin=text, WSCTL_JWT_SECRET=SECRET)
    assert moved.returncode == 0, moved.stderr
    assert server.stop() == 0
    assert not [line for line in server.lines if "failed" in line]
    with sqlite3.connect(database) as kept:
        assert kept.execute("SELECT room, moves, winner FROM games").fetchall() == [(room, "4", None)]
    kept.close()

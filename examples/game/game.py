"""Noughts and crosses: a turn has its time, others may watch, and games outlive a restart of the server."""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from wsserver import App, Context, Hub, RoomAccess

LINES = ("012", "345", "678", "036", "147", "258", "048", "246")
TABLE = "CREATE TABLE IF NOT EXISTS games (room TEXT PRIMARY KEY, first TEXT, second TEXT, moves TEXT, winner TEXT)"
UNFINISHED = "SELECT room, first, second, moves FROM games WHERE winner IS NULL"
SCORES = "SELECT winner, count(*) FROM games WHERE winner > '' GROUP BY winner ORDER BY 2 DESC LIMIT 10"


@dataclass
class GameSettings:
    """Settings of the game, such as WSCTL_APP_TURN_S."""

    database: str = "game.db"
    turn_s: float = 30


@dataclass
class Game:
    """One game, which is played in a room; `moves` are the squares in their order."""

    room: str
    players: tuple[str, str]
    moves: str = ""
    has_moved: asyncio.Event = field(default_factory=asyncio.Event)

    def winner(self) -> str | None:
        """Return who has three in a row, an empty text for a draw, and None as long as the game goes on."""
        last = 1 - len(self.moves) % 2
        if any(set(line) <= set(self.moves[last::2]) for line in LINES):
            return self.players[last]
        return "" if len(self.moves) == 9 else None


class Games:
    """The games that are played, and their database, which has a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.settings = hub.resource(GameSettings)
        self.thread = ThreadPoolExecutor(1)
        self.database = sqlite3.connect(self.settings.database, check_same_thread=False, isolation_level=None)
        self.running: dict[str, Game] = {}

    async def run(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Run a query behind all that came before it, and return its rows."""
        return await asyncio.wrap_future(self.thread.submit(lambda: self.database.execute(query, values).fetchall()))

    async def play(self, game: Game) -> None:
        """Wait for the moves of a game, until somebody has won, or was too slow."""
        self.running[game.room] = game
        while (winner := game.winner()) is None:
            game.has_moved.clear()
            try:
                await asyncio.wait_for(game.has_moved.wait(), self.settings.turn_s)
            except TimeoutError:
                winner = game.players[1 - len(game.moves) % 2]
                break
        del self.running[game.room]
        await self.run("UPDATE games SET winner = ? WHERE room = ?", winner, game.room)
        self.hub.publish("game.over", {"winner": winner}, room=game.room)
        self.hub.publish("game.scores", dict(await self.run(SCORES)), room="game.scores")


app = App(settings=GameSettings)
NOT_YOUR_TURN = app.error("NOT_YOUR_TURN", "It is not your turn.")
BAD_SQUARE = app.error("BAD_SQUARE", "A square is 0 to 8, and free.")


@app.lifespan
async def games(hub: Hub) -> AsyncIterator[Games]:
    """Open the database, and go on with the games that the last end of the server has interrupted."""
    games = Games(hub)
    await games.run(TABLE)
    for room, first, second, moves in await games.run(UNFINISHED):
        hub.spawn(games.play(Game(room, (first, second), moves)), name=room)
    yield games
    games.thread.shutdown()
    games.database.close()


@app.on_join("game.*")
def seat(ctx: Context, room: str) -> RoomAccess:
    """Let the players play, and everybody watch."""
    game = ctx.resource(Games).running.get(room)
    return RoomAccess.PUBLISH if game and ctx.principal.user_id in game.players else RoomAccess.LISTEN


@app.on("game.start", outlives_client=True)
async def start(ctx: Context, opponent: str) -> None:
    """Start a game against another player, who is told and has the first turn."""
    game = Game(f"game.{uuid.uuid4()}", (opponent, ctx.principal.user_id))
    await ctx.resource(Games).run("INSERT INTO games VALUES (?, ?, ?, '', NULL)", game.room, *game.players)
    ctx.hub.spawn(ctx.resource(Games).play(game), name=game.room)
    ctx.publish("game.invited", {"room": game.room, "by": ctx.principal.user_id}, user=opponent)
    ctx.reply("game.started", {"room": game.room})


@app.on("game.move", room=RoomAccess.PUBLISH, outlives_client=True)
async def move(ctx: Context, square: str) -> None:
    """Take a square, and tell it once it is kept."""
    game = ctx.resource(Games).running.get(ctx.room or "")
    if game is None or game.players[len(game.moves) % 2] != ctx.principal.user_id:
        raise NOT_YOUR_TURN()
    if square not in set("012345678") - set(game.moves):
        raise BAD_SQUARE()
    game.moves += square
    game.has_moved.set()
    await ctx.resource(Games).run("UPDATE games SET moves = ? WHERE room = ?", game.moves, game.room)
    ctx.publish("game.moved", {"moves": game.moves})

"""A chat: rooms with presence and history, and a hint that somebody types."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from wsserver import App, Context, RoomAccess


@dataclass
class ChatSettings:
    """Settings of the chat, such as WSCTL_APP_PAGE_LENGTH."""

    page_length: int = 50


class Say(msgspec.Struct):
    """What somebody says."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Page(msgspec.Struct):
    """A part of the history: the newest lines, or those before one."""

    before: int | None = None


class Line(msgspec.Struct, rename="camel"):
    """A line of the history."""

    seq: int | None
    timestamp: int
    user_id: str | None
    text: str


app = App(settings=ChatSettings)
app.sends("chat.said", Say)


@app.on_join("chat.*")
def anybody(ctx: Context, room: str) -> bool:
    """Let everybody into the rooms for all."""
    return True


@app.on_join("chat.staff")
def staff(ctx: Context, room: str) -> RoomAccess:
    """Let guests see what the staff says, and users say it."""
    return RoomAccess.LISTEN if ctx.principal.is_guest else RoomAccess.PUBLISH


@app.on("chat.say", room=RoomAccess.PUBLISH)
def say(ctx: Context, said: Say) -> None:
    """Say something to everyone in the room."""
    ctx.reply("chat.sent", {"seq": ctx.publish("chat.said", said).seq})


@app.on("chat.typing", room=RoomAccess.PUBLISH)
def typing(ctx: Context) -> None:
    """Tell the others that somebody types, but for those who read slowly."""
    ctx.publish("chat.typing", lossy=True, except_connection=ctx.connection_id)


@app.on("chat.history", room=RoomAccess.LISTEN, replies=list[Line])
async def history(ctx: Context, page: Page | None) -> None:
    """Answer with the last lines of the room, the oldest first."""
    limit = ctx.resource(ChatSettings).page_length
    kept = await ctx.hub.history(room=ctx.room, limit=limit, before=None if page is None else page.before)
    ctx.reply("chat.history", [Line(line.seq, line.timestamp, line.user_id, line.data["text"]) for line in kept])

"""A dashboard: what other programs send to a FastAPI app is at once on all screens that watch it."""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel

from wsserver import App, Context, Hub, RoomAccess, Secret


@dataclass
class DashboardSettings:
    """Settings of the dashboard, such as WSCTL_APP_PUBLISH_KEY."""

    web_port: int = 8000
    publish_key: Secret = field(default_factory=lambda: Secret("dashboard"))


class Reading(BaseModel):
    """What a program has measured."""

    name: str
    value: float


app = App(settings=DashboardSettings)
app.sends("dashboard.reading", Reading)


@app.on_join("board.*")
def watch(ctx: Context, room: str) -> RoomAccess:
    """Let everybody watch a board; only the web app publishes to it."""
    return RoomAccess.LISTEN


def web_app(hub: Hub) -> FastAPI:
    """Return the web app: a page for people, and where programs send what they measure."""
    web = FastAPI()

    def check_key(authorization: Annotated[str, Header()] = "") -> None:
        key = hub.resource(DashboardSettings).publish_key.reveal()
        if not hmac.compare_digest(authorization.encode(), f"Bearer {key}".encode()):
            raise HTTPException(401, "Send the key: Authorization: Bearer KEY.")

    @web.get("/")
    async def page() -> FileResponse:
        return FileResponse(Path(__file__).with_name("dashboard.html"))

    @web.post("/boards/{board}/readings", status_code=202, dependencies=[Depends(check_key)])
    async def publish(board: str, reading: Reading) -> dict[str, int | None]:
        result = await hub.published("dashboard.reading", reading, room=f"board.{board}")
        return {"seq": result.seq}

    @web.get("/boards/{board}/readings")
    async def readings(board: str, limit: int = 20) -> list[Reading]:
        return [message.data_as(Reading) for message in await hub.history(room=f"board.{board}", limit=limit)]

    @web.get("/boards/{board}/watchers")
    async def watchers(board: str) -> list[str]:
        return await hub.members(f"board.{board}")

    return web


class WebServer(uvicorn.Server):
    """Uvicorn, which leaves Ctrl-C to wsctl."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@app.lifespan
async def web(hub: Hub) -> AsyncIterator[None]:
    """Serve the web app in the same event loop, from before the first client comes until the last has left."""
    listening = socket.create_server(("127.0.0.1", hub.resource(DashboardSettings).web_port))
    config = uvicorn.Config(web_app(hub), log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = WebServer(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listening]))
        yield
        server.should_exit = True

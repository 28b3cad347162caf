"""The dashboard of examples/: by the programs that publish, and by the screens that watch."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from types import ModuleType

import httpx
import pytest

from tests.cli.conftest import HANG_S, Serving
from wscore.errors import ConfigError
from wsserver import Secret
from wsserver.testing import AppServer, serving

KEY = {"Authorization": "Bearer a-key"}
READING = {"name": "load", "value": 0.7}


@pytest.fixture
def dashboard(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("dashboard")


@pytest.fixture
async def server(dashboard: ModuleType, free_port: int) -> AsyncIterator[AppServer]:
    settings = dashboard.DashboardSettings(web_port=free_port, publish_key=Secret("a-key"))
    async with serving(dashboard.app, app_settings=[settings]) as server:
        yield server


@pytest.fixture
async def web(server: AppServer, free_port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}", timeout=HANG_S, trust_env=False) as web:
        yield web


async def test_what_a_program_sends_is_on_the_screens_of_its_board_alone(server, web):
    screen = await server.connect(rooms=["board.main"])
    other = await server.connect(rooms=["board.other"])
    response = await web.post("/boards/main/readings", json=READING, headers=KEY)
    assert (response.status_code, response.json()) == (202, {"seq": 1})
    assert (await screen.receive("dashboard.reading")).data == READING
    await other.expect_nothing()


async def test_a_new_screen_reads_what_was_last_sent(server, web):
    for value in range(3):
        await web.post("/boards/main/readings", json={"name": "load", "value": value}, headers=KEY)
    response = await web.get("/boards/main/readings", params={"limit": 2})
    assert response.json() == [{"name": "load", "value": 1.0}, {"name": "load", "value": 2.0}]


async def test_who_watches_is_known(server, web):
    screen = await server.connect("ann", rooms=["board.main"])
    assert (await web.get("/boards/main/watchers")).json() == [screen.user_id]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}])
async def test_without_the_key_nothing_is_published(server, web, headers):
    screen = await server.connect(rooms=["board.main"])
    assert (await web.post("/boards/main/readings", json=READING, headers=headers)).status_code == 401
    await screen.expect_nothing()


async def test_what_is_no_reading_is_refused_by_the_web_app(server, web):
    response = await web.post("/boards/main/readings", json={"name": "load", "value": "high"}, headers=KEY)
    assert response.status_code == 422


async def test_a_screen_cannot_publish(server, web):
    screen = await server.connect(rooms=["board.main"])
    reply = await screen.request("dashboard.reading", READING, room="board.main")
    assert reply.data["code"] == "FORBIDDEN"


async def test_a_port_that_is_taken_keeps_it_from_starting(dashboard):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = dashboard.DashboardSettings(web_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"Address already in use.*\(in dashboard\.web\)"):
            await serving(dashboard.app, app_settings=[settings]).__aenter__()


async def test_it_is_served_from_its_folder_and_ends_in_order(serve_example: Callable[..., Serving], free_port: int):
    server = await asyncio.to_thread(
        serve_example, "dashboard", WSCTL_APP_WEB_PORT=str(free_port), WSCTL_APP_PUBLISH_KEY="a-key"
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}", timeout=HANG_S, trust_env=False) as web:
        page = await web.get("/")
        assert "room.join" in page.text
        assert (await web.post("/boards/main/readings", json=READING, headers=KEY)).json() == {"seq": 1}
    assert await asyncio.to_thread(server.stop) == 0
    events = [json.loads(line)["event"] for line in server.lines]
    assert "server.stopped" in events
    assert not [event for event in events if "failed" in event]

"""The dashboard of examples/: by the programs that publish, and by the screens that watch."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.cli.conftest import HANG_S, Serving
from wscore.errors import ConfigError
from wsserver import Secret
from wsserver.testing import AppServer, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEY = {"Authorization": "Bearer a-key"}
READING = {"name": "load", "value": 0.7}


async def shown(url: str, text: str) -> str:
    """Return what a page of Chromium's shows, once this is in it."""
    look = (
        f"document.body?.innerText.includes({json.dumps(text)}) ? done(document.body.innerText) : setTimeout(look, 20)"
    )
    expression = f"new Promise(done => {{ const look = () => {look}; look(); }})"
    parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    value: object = None
    async with connect(url, proxy=None, max_size=None) as devtools:
        while not isinstance(value, str):  # what was asked first may be the empty page before this one
            await devtools.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": parameters}))
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(devtools.recv(), HANG_S))
            value = answer.get("result", {}).get("result", {}).get("value")
    return value


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


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_the_page_shows_what_was_sent_before_and_what_comes(server, web, tmp_path):
    await web.post("/boards/main/readings", json={"name": "disk", "value": 12.5}, headers=KEY)
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
        *("--remote-debugging-port=0", str(web.base_url.join(f"/?port={urlsplit(server.url).port}"))),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert browser.stderr is not None
        said = b""
        while b"DevTools listening" not in said:
            said = await asyncio.wait_for(browser.stderr.readline(), HANG_S)
            assert said, "chromium has ended"
        host = urlsplit(said.split()[-1].decode()).netloc
        pages = (await web.get(f"http://{host}/json/list")).json()
        (url,) = [page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"]
        assert "disk\t12.5" in await shown(url, "12.5")
        await web.post("/boards/main/readings", json=READING, headers=KEY)
        text = await shown(url, "0.7")
        assert "load\t0.7" in text
        assert "live: board.main" in text
    finally:
        browser.kill()
        await browser.wait()


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

"""Wire compatibility through headless Chromium's own WebSocket: what a web page sees of close codes."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from wscore.heartbeat import HeartbeatPolicy

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = Path(__file__).parent / "chromium_page.html"
HANG_S = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Reports:
    """A web server for one page, which posts what it saw back to it."""

    def __init__(self) -> None:
        self._reports: dict[str, asyncio.Future[Any]] = {}

    async def wait(self, step: str) -> Any:
        return await asyncio.wait_for(self._future(step), HANG_S)

    def _future(self, step: str) -> asyncio.Future[Any]:
        return self._reports.setdefault(step, asyncio.get_running_loop().create_future())

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        body = b""
        if method == "POST":
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            content = await reader.readexactly(int(lines["content-length"]))
            self._future(path.removeprefix("/report/")).set_result(json.loads(content))
        elif path.startswith("/page"):
            body = PAGE.read_bytes()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def test_a_page_talks_and_sees_4001_4002_and_1001(start_server, engine, tmp_path):
    server = await start_server(engine=engine, heartbeat=HeartbeatPolicy(300, 1000))
    reports = Reports()
    web = await asyncio.start_server(reports.handle, "127.0.0.1", 0)
    port = web.sockets[0].getsockname()[1]
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path}",
        "--remote-debugging-port=0",  # keeps the page open until the browser is ended
        f"http://127.0.0.1:{port}/page?server={quote(server.url, safe='')}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        auth = await reports.wait("auth")
        assert (auth["code"], auth["received"]) == (4001, ["error"])
        assert await reports.wait("talking") == {"text": "hello"}
        silent = await reports.wait("silent")
        assert (silent["code"], silent["reason"], silent["clean"]) == (4002, "Connection timeout", True)
        await server.stop()
        shutdown = await reports.wait("shutdown")
        assert (shutdown["code"], shutdown["clean"]) == (1001, True)
        assert shutdown["received"][-1] == "disconnect"
    finally:
        browser.terminate()
        await browser.wait()
        web.close()
        await web.wait_closed()

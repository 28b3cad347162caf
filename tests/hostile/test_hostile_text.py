"""Line breaks and escapes in path, headers, ids and types: each log event stays one harmless line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
HANG_S = 30
# What could move a cursor, start a line or turn the reading direction in a log.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
TRICKS = ["%0d%0aINFO%20connection.opened%20user=admin", "%1b%5b2J%1b%5d0;x%07", "%e2%80%ae%c2%9b", "%00", "%ff%fe"]


@pytest.fixture(params=["text", "json"])
def logged(request, engine, tmp_path) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    path = tmp_path / "log"
    options = ["--engine", engine.value, "--log-format", request.param, "--log-level", "debug", "--port", "0"]
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", *options],
            stderr=log,
            stdout=subprocess.DEVNULL,
            cwd=tmp_path,
            env=clean | {"PYTHONPATH": str(ROOT)},
        )
    yield request.param, path, process
    process.kill()
    process.wait(HANG_S)


async def url_in(path: Path) -> str:
    async with asyncio.timeout(HANG_S):
        while not (match := re.search(r"ws://127\.0\.0\.1:\d+/socket\.io/", path.read_text())):
            await asyncio.sleep(0.02)
    return match[0]


async def test_no_stranger_writes_a_line_of_the_log(logged, open_socket, neighbour_of):
    form, path, process = logged
    url = await url_in(path)
    neighbour = await neighbour_of(url)
    parts = urlsplit(url)
    for trick in TRICKS:
        for target in (f"/{trick}", f"{parts.path}?token={trick}", f"{parts.path}?sessionId={trick}"):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m{trick}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Version: 13\r\nOrigin: http://{trick}\r\n\r\n".encode("latin-1")
            )
            await asyncio.wait_for(reader.read(2000), HANG_S)
            writer.close()
    peer = await open_socket(url)
    for kind in ("a\r\nb", "\x1b[31m", "unknown.type", "\u202e"):
        await peer.send_json({"type": kind, "timestamp": 1})
    await peer.send_json({"type": "ping", "timestamp": 1})
    await peer.receive_type("pong")
    await neighbour.notices_nothing()
    process.terminate()
    process.wait(HANG_S)
    text = path.read_text("utf-8")
    assert not UNSAFE.search(text)
    events = [line for line in text.splitlines() if " connection.opened " in line or '"connection.opened"' in line]
    assert len(events) == 2, "a line was forged"
    assert any("message.unhandled" in line for line in text.splitlines())
    if form == "json":
        for line in text.splitlines():
            json.loads(line)

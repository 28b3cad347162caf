"""The client for web pages that docs/protocol.md shows: it comes back, and has everything once or is told that not."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager

import pytest

from tests.pages import ROOT, blocks

NODE = shutil.which("node")
OPTION = "--experimental-websocket"  # before Node 22 there is no WebSocket without it
HANG_S = 30
DRIVE = """
const show = (line) => console.log(JSON.stringify(line));
const [url, token] = process.argv.slice(2);
const client = new Client(url, async () => token, {
  onMessage: show,
  onLost: (room) => show({type: "lost", room}),
  onEnd: (code) => show({type: "end", code}),
});
client.join("order.17");
await client.connect();
"""

pytestmark = pytest.mark.skipif(
    NODE is None or subprocess.run([NODE, OPTION, "-e", "0"], capture_output=True).returncode != 0,
    reason="needs a Node that has WebSocket",
)


@asynccontextmanager
async def page(folder, server, token):
    """Run the client, and yield what waits for its next message of a type."""
    (folder / "page.mjs").write_text(blocks(ROOT / "docs/protocol.md", "js")[1] + DRIVE)
    command = (NODE, OPTION, "--no-warnings", folder / "page.mjs", server.url, token)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)

    async def came(type):
        async with asyncio.timeout(HANG_S):
            message = json.loads(await process.stdout.readline())
        assert message["type"] == type
        return message

    try:
        yield came
    finally:
        process.kill()
        await process.wait()


async def test_it_comes_back_with_all_that_it_missed_and_ends_where_it_is_told_to(
    start_server, user_token, jwt_key, tmp_path
):
    server = await start_server(jwt_key=jwt_key)
    async with page(tmp_path, server, user_token()) as came:
        greeting = (await came("session_created"))["data"]
        await came("room.joined")
        server.hub.publish("paid", 1, room="order.17")
        assert (await came("paid"))["seq"] == 1
        server.hub.close(greeting["connectionId"], 1012, "again")
        server.hub.publish("packed", 2, room="order.17")
        server.hub.publish("hint", 3, session=greeting["sessionId"])
        back = (await came("session_created"))["data"]
        assert (back["sessionId"], back["recovery"]["recovered"]) == (greeting["sessionId"], True)
        assert (await came("hint"))["data"] == 3
        assert (await came("room.joined"))["data"]["recovery"]["recovered"] is True
        assert (await came("packed"))["seq"] == 2
        server.hub.publish("sent", 4, room="order.17")
        assert (await came("sent"))["seq"] == 3
        server.hub.close(back["connectionId"])
        assert (await came("end"))["code"] == 4004


async def test_what_is_kept_no_longer_is_told_as_lost(start_server, user_token, jwt_key, tmp_path):
    server = await start_server(jwt_key=jwt_key)
    async with page(tmp_path, server, user_token()) as came:
        greeting = (await came("session_created"))["data"]
        await came("room.joined")
        server.hub.close(greeting["connectionId"], 1012, "again")
        for number in range(101):  # of which a hundred are kept
            server.hub.publish("paid", number, room="order.17")
        await came("session_created")
        assert (await came("lost"))["room"] == "order.17"
        await came("room.joined")
        server.hub.publish("sent", 1, room="order.17")
        assert (await came("sent"))["seq"] == 102

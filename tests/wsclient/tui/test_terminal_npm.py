"""The terminal client and the real npm packages: each greets it, takes what is written, and is shown as it answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsclient.tui.model.history import Draft
from wscore.foreign import ProtocolName, ProtocolSettings

SEED = Path(__file__).parents[2] / "seed"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not all((SEED / "node_modules" / name).is_dir() for name in ("ws", "socket.io", "graphql-ws")),
        reason="the npm packages are missing: npm ci --prefix tests/seed",
    ),
]


@pytest.fixture
def foreign() -> Iterator[Callable[[str], str]]:
    """Start a server of another make, and return its URL: `foreign("socketio")`."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> str:
        process = subprocess.Popen(
            ["node", str(SEED / "foreign_servers.mjs"), name], stdout=subprocess.PIPE, text=True, cwd=SEED
        )
        started.append(process)
        assert process.stdout is not None
        return f"ws://127.0.0.1:{int(process.stdout.readline())}/"

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def send(terminal, type: str, text: str) -> None:
    await terminal.press("escape", "c")
    composer = terminal.screen.composer
    await terminal.until(lambda: terminal.app.focused and composer in terminal.app.focused.ancestors_with_self)
    composer.draft = Draft(type, text)
    await terminal.press("ctrl+j", "escape")


async def test_events_of_socket_io_go_out_by_their_name_and_come_with_their_attachments(foreign, open_terminal):
    settings = ProtocolSettings(name=ProtocolName.SOCKETIO)
    async with open_terminal(foreign("socketio"), session=None, protocol=settings) as terminal:
        await terminal.shows("socketio is spoken", "news")
        await send(terminal, "say", '[{"a":1.10},2]')
        await terminal.until(lambda: "said" in terminal.rows())
        await terminal.press("end", "enter")
        await terminal.shows('42["said",{"a":1.1},2]')
        await send(terminal, "bytes", "[]")
        await terminal.until(lambda: terminal.rows()[-2:] == ["file", "binary"])
        await terminal.press("end")
        await terminal.shows("01 02 ff")
        await terminal.press("b")
        await terminal.until(lambda: "ping" in terminal.rows())
        await terminal.until(lambda: "pong" in terminal.rows())


async def test_a_query_of_graphql_is_typed_as_it_is_and_its_results_come_one_by_one(foreign, open_terminal):
    settings = ProtocolSettings(name=ProtocolName.GRAPHQL_WS)
    async with open_terminal(foreign("graphql"), session=None, protocol=settings) as terminal:
        await terminal.shows("graphql-ws is spoken", "connection_ack")
        await send(terminal, "", "subscription { count(to: 3) }")
        await terminal.until(lambda: terminal.rows()[-4:] == ["next", "next", "next", "complete"])
        await terminal.press("end", "up", "enter")
        await terminal.shows('"count": 3')
        await send(terminal, "", "{ hello }")
        await terminal.shows('"hello":"world"')
        await send(terminal, "", "{ nonsense }")
        await terminal.until(lambda: "error" in terminal.rows())


async def test_a_call_of_json_rpc_gets_an_id_and_is_paired_with_its_result(foreign, open_terminal):
    settings = ProtocolSettings(name=ProtocolName.JSONRPC)
    async with open_terminal(foreign("jsonrpc"), session=None, protocol=settings) as terminal:
        await send(terminal, "subtract", "[42,23]")
        await terminal.until(lambda: terminal.rows()[-2:] == ["subtract", "result"])
        await terminal.press("end", "enter")
        await terminal.shows('"result": 19', "request #")
        await terminal.press("p")
        await terminal.shows('"method": "subtract"')
        await send(terminal, "divide", "[1,0]")
        await terminal.until(lambda: terminal.rows()[-1] == "error")

"""The handshake panel, pings by hand and as rows, and the round trip of a server that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.tcpserver import tcp_server
from wsclient import ConfigError, StaticToken


@pytest.fixture
async def foreign_url() -> AsyncIterator[str]:
    async def hello(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()

    async with serve(hello, "127.0.0.1", 0, ping_interval=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/chat"


async def test_the_handshake_panel_shows_request_answer_and_what_was_agreed_on(foreign_url, open_terminal):
    async with open_terminal(foreign_url, size=(100, 50)) as terminal:
        await terminal.press("f6")
        await terminal.shows("> GET /chat", "< HTTP/1.1 101 Switching Protocols", "* extensions: permessage-deflate")
        assert "guest_" not in terminal.screen_text()
        await terminal.press("f6")
        await terminal.until(lambda: "101 Switching" not in terminal.screen_text())


async def test_the_handshake_panel_begins_with_what_failed(open_terminal):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Type: text/plain\r\n"
        writer.write(head + b"Content-Length: 11\r\n\r\nwho \x1b[1mare")
        writer.close()

    async with (
        tcp_server(refuse) as port,
        open_terminal(f"ws://127.0.0.1:{port}/", token=StaticToken("x"), size=(100, 50)) as terminal,
    ):
        await terminal.until(lambda: terminal.screen._health.handshakes)
        await terminal.press("f6")
        await terminal.shows("HTTP 401 Unauthorized: who", "< WWW-Authenticate: Basic realm=x")
        panel = terminal.screen.query_one("#handshake-words").content
        assert str(panel).startswith("* failed after ")


async def test_pings_are_rows_on_demand_and_their_round_trip_is_known(foreign_url, open_terminal):
    async with open_terminal(foreign_url) as terminal:
        await terminal.until(lambda: terminal.screen._health.round_trips_ms)  # of the first probe
        assert "pong received after" not in terminal.screen_text()
        await terminal.press("P")
        await terminal.says("pong after ")
        await terminal.press("b")
        await terminal.shows("ping sent (4 bytes)", "pong received after")


async def test_the_form_hands_its_options_on(open_terminal):
    seen = []

    def new_client(target):
        seen.append(target.options)
        raise ConfigError("options", "are looked at")

    async with open_terminal("ws://127.0.0.1:1/", form=True, new_client=new_client, size=(100, 40)) as terminal:
        terminal.screen.query_one("#options").focus()
        await terminal.type("--insecure")
        await terminal.press("enter")
        await terminal.shows("options: are looked at")
    assert seen == ["--insecure"]


async def test_whoever_asks_for_it_sees_the_handshake_from_the_start(foreign_url, open_terminal):
    async with open_terminal(foreign_url, size=(100, 50), verbose=True) as terminal:
        await terminal.shows("< HTTP/1.1 101 Switching Protocols")

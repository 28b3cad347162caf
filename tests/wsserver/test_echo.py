"""The raw echo of `--echo-path`: the production parser and its limits, without auth and envelopes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from wscore.errors import ConfigError
from wsserver import ServerSettings, WebSocketServer
from wsserver.handshake.limits import ConnectionLimits
from wsserver.settings import EngineName

HANG_S = 20

StartServer = Callable[..., Awaitable[WebSocketServer]]


def echo_url(server: WebSocketServer) -> str:
    return server.url.replace("/socket.io/", "/echo")


async def close_code(ws) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(ws.recv(), HANG_S)
    return closed.value.rcvd.code


async def test_text_and_binary_come_back_as_they_went_without_a_token(
    start_server: StartServer, engine: EngineName
) -> None:
    server = await start_server(engine=engine, echo_path="/echo")
    async with connect(echo_url(server), proxy=None, compression=None) as ws:
        for message in ("not an envelope", b"\x00\xff" * 1000, "", b""):
            await ws.send(message)
            assert await asyncio.wait_for(ws.recv(), HANG_S) == message
        await ws.send(["in ", "three ", "pieces"])
        assert await asyncio.wait_for(ws.recv(), HANG_S) == "in three pieces"


async def test_a_peer_that_does_not_read_is_not_read_either_and_loses_nothing(
    start_server: StartServer, engine: EngineName
) -> None:
    server = await start_server(engine=engine, echo_path="/echo")
    count, message = 400, "x" * 50_000
    async with connect(echo_url(server), proxy=None, compression=None, max_queue=1) as ws:

        async def send_all() -> None:
            for number in range(count):
                await ws.send(f"{number} {message}")

        sending = asyncio.create_task(send_all())
        done, _ = await asyncio.wait((sending,), timeout=1)
        assert not done, "the server took in 20 MB that nobody read"
        for number in range(count):
            assert await asyncio.wait_for(ws.recv(), HANG_S) == f"{number} {message}"
        await sending


async def test_the_limits_on_size_and_connections_hold_for_the_echo(
    start_server: StartServer, engine: EngineName
) -> None:
    limits = ConnectionLimits(total=1)
    server = await start_server(engine=engine, echo_path="/echo", max_message_bytes=2048, connections=limits)
    async with connect(echo_url(server), proxy=None, compression=None) as ws:
        async with connect(echo_url(server), proxy=None, compression=None) as second:
            assert await close_code(second) == 1013
        await ws.send("x" * 2049)
        assert await close_code(ws) == 1009
    async with connect(echo_url(server), proxy=None, compression=None) as ws:
        await ws.send("room again")
        assert await asyncio.wait_for(ws.recv(), HANG_S) == "room again"


async def test_an_echo_connection_is_told_of_the_shutdown(start_server: StartServer, engine: EngineName) -> None:
    server = await start_server(engine=engine, echo_path="/echo")
    async with connect(echo_url(server), proxy=None, compression=None) as ws:
        stopping = asyncio.create_task(server.stop())
        assert await close_code(ws) == 1001
        await asyncio.wait_for(stopping, HANG_S)


async def test_without_the_option_there_is_no_echo(start_server: StartServer, engine: EngineName) -> None:
    server = await start_server(engine=engine)
    with pytest.raises(InvalidStatus) as refused:
        await connect(echo_url(server), proxy=None)
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path", ["echo", "/echo?x=1", "/socket.io"])
def test_a_path_that_cannot_be_the_echo_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="--echo-path"):
        ServerSettings(echo_path=path)

"""Servers that never end a connection: whoever has said goodbye to them waits no longer than a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.utils import accept_key

from tests.tcpserver import tcp_server
from wsclient import Client, ConnectionClosedError, DialOptions, Pings, opening
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.frames import close_frame

HANG_S = 20
FOREVER_S = 3600
GOODBYE = close_frame((1000).to_bytes(2, "big"))
RAW = ProtocolSettings(name=ProtocolName.RAW)

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def endless(behave: Behave) -> AsyncIterator[str]:
    """Serve WebSockets that behave so once they are open, and are never closed; yields the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        key = next(line.partition(": ")[2] for line in lines if line.lower().startswith("sec-websocket-key"))
        answer = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        writer.write("\r\n".join([*answer, f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]).encode())
        await behave(reader, writer)
        await asyncio.Event().wait()

    async with tcp_server(serve) as port:
        yield f"ws://127.0.0.1:{port}/"


def client_of(url: str, close_timeout_s: float = FOREVER_S) -> Client:
    dial = DialOptions(close_timeout_s=close_timeout_s, pings=Pings(interval_s=0))
    return Client(url, protocol=RAW, dial=dial)


async def says_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GOODBYE)


async def answers_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)  # the head of the client's close frame
    writer.write(GOODBYE)


async def reads_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]


async def test_one_that_says_goodbye_and_stays_is_left(monkeypatch):
    monkeypatch.setattr(opening, "_LAST_S", 0.05)
    async with endless(says_goodbye) as url, asyncio.timeout(HANG_S):
        client = client_of(url)
        await client.connect()
        with pytest.raises(ConnectionClosedError) as ended:
            await client.receive()
        assert ended.value.code == 1000
        await client.close()


async def test_one_that_answers_a_goodbye_and_stays_is_left(monkeypatch):
    monkeypatch.setattr(opening, "_LAST_S", 0.05)
    async with endless(answers_goodbye) as url, asyncio.timeout(HANG_S):
        client = client_of(url)
        await client.connect()
        await client.close()


async def test_one_that_reads_nothing_is_left_whatever_waits_for_it():
    async with endless(reads_nothing) as url, asyncio.timeout(HANG_S):
        client = client_of(url, close_timeout_s=0.2)
        await client.connect()
        sending = asyncio.create_task(client.send_raw("x" * (8 << 20)))
        await asyncio.wait((sending,), timeout=0.2)
        assert not sending.done(), "there is room for it"
        await client.close()
        await asyncio.wait((sending,))

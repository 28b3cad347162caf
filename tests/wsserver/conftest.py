"""A raw client for server tests: it speaks what a test tells it to, and knows nothing of wsclient."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

HANG_S = 20  # only to end a test that would hang


class RawClient:
    """A WebSocket with JSON in and out."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.greeting: dict[str, Any] = {}

    async def send(self, type: str, data: object = None, **fields: object) -> None:
        await self.ws.send(json.dumps({"type": type, "timestamp": 1, "data": data, **fields}))

    async def receive(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.ws.recv(), HANG_S))

    async def receive_type(self, type: str) -> dict[str, Any]:
        while True:
            envelope = await self.receive()
            if envelope["type"] == type:
                return envelope

    async def received_until_closed(self) -> tuple[list[dict[str, Any]], int, str]:
        envelopes = []
        while True:
            try:
                envelopes.append(await self.receive())
            except ConnectionClosed as closed:
                end = closed.rcvd or Close(1006, "no close frame")
                return envelopes, end.code, end.reason

    async def close_code(self) -> int:
        return (await self.received_until_closed())[1]


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Offer uvloop beside asyncio's own loop, to tests that name the loops they run on."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        with suppress(ImportError):  # not on Windows
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
    return factories


OpenRaw = Callable[..., Awaitable[RawClient]]


@pytest.fixture
async def open_raw(guest_token: Callable[[], str]) -> AsyncIterator[OpenRaw]:
    """Open raw clients: `await open_raw(url, token=..., session=..., resume=..., greet=True, **connect options)`."""
    clients: list[RawClient] = []

    async def open_client(
        url: str,
        *,
        token: str | None = "",
        session: str | None = None,
        resume: dict[str, object] | None = None,
        greet: bool = True,
        **options: Any,
    ) -> RawClient:
        query = {"token": guest_token() if token == "" else token, "sessionId": session, **(resume or {})}
        text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        client = RawClient(await connect(f"{url}?{text}", proxy=None, **{"compression": None, **options}))
        clients.append(client)
        if greet:
            client.greeting = await client.receive()
        return client

    yield open_client
    for client in clients:  # a close would wait 10 s for its answer behind what a test has left unread
        client.ws.transport.abort()
        await client.ws.wait_closed()

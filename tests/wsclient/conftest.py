"""A server that misbehaves on command, and a recorder of what a client did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from wsclient import Client, Event

HANG_S = 20  # only to end a test that would hang

E = TypeVar("E")


class Peer:
    """The server's end of one connection, doing what a script tells it to."""

    def __init__(self, ws: ServerConnection) -> None:
        self.ws = ws
        query = parse_qs(urlsplit(ws.request.path).query) if ws.request else {}
        self.token = query.get("token", [""])[0]
        self.query = query
        self.session = query.get("sessionId", [""])[0]

    async def greet(self, timeout_ms: int = 60_000, **fields: Any) -> None:
        data = {
            "sessionId": "room",
            "userId": "alice",
            "isGuest": True,
            "connectionId": "c-1",
            "heartbeat": {"intervalMs": 25_000, "timeoutMs": timeout_ms},
            "limits": {"maxMessageBytes": 65_536},
        }
        await self.send("session_created", {**data, **fields})

    async def send(self, type: str, data: object = None, **fields: object) -> None:
        await self.raw(json.dumps({"type": type, "timestamp": 1, "data": data, **fields}))

    async def refuse(self, code: str = "AUTH_EXPIRED") -> None:
        """Do what a wsctl server does to a token it does not like."""
        await self.send("error", {"code": code, "message": "no", "retryable": False})
        await self.close(4001)

    async def raw(self, frame: str | bytes) -> None:
        await self.ws.send(frame)

    async def receive(self) -> dict[str, Any]:
        return json.loads(await self.ws.recv())

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.close(code, reason)

    def abort(self) -> None:
        """Cut the TCP connection without a close frame."""
        self.ws.transport.abort()

    async def stay(self) -> None:
        """Read and ignore, until the client ends the connection."""
        try:
            async for _ in self.ws:
                pass
        except ConnectionClosed:
            pass


Script = Callable[[Peer], Awaitable[None]]


class FaultServer:
    """Each connection gets the next script, the last one again and again; tokens are kept as they came."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._server: Server | None = None
        self.tokens: list[str] = []
        self.sessions: list[str] = []
        self.finished: asyncio.Queue[Peer] = asyncio.Queue()

    async def start(self) -> None:
        self._server = await serve(self._handle, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=1)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/socket.io/"

    async def _handle(self, ws: ServerConnection) -> None:
        peer = Peer(ws)
        script = self._scripts[min(len(self.tokens), len(self._scripts) - 1)]
        self.tokens.append(peer.token)
        self.sessions.append(peer.session)
        try:
            await script(peer)
        except ConnectionClosed:
            pass
        finally:
            await ws.wait_closed()
            self.finished.put_nowait(peer)


class Recorder:
    """Every event of a client, in order, and a way to wait for the next one of a kind."""

    def __init__(self, client: Client) -> None:
        self.events: list[Event] = []
        self._seen = 0
        self._more = asyncio.Event()
        client.watch(self._add)

    def _add(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def next(self, kind: type[E]) -> E:
        async with asyncio.timeout(HANG_S):
            while True:
                while self._seen < len(self.events):
                    self._seen += 1
                    event = self.events[self._seen - 1]
                    if isinstance(event, kind):
                        return event
                self._more.clear()
                await self._more.wait()


@pytest.fixture
async def faults() -> AsyncIterator[Callable[..., Awaitable[FaultServer]]]:
    """Start fault servers: `await faults(script, script, ...)`; a script is `async def script(peer)`."""
    servers: list[FaultServer] = []

    async def start(*scripts: Script) -> FaultServer:
        server = FaultServer(*scripts)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def make_client() -> AsyncIterator[Callable[..., Client]]:
    """Make clients that are closed after the test."""
    clients: list[Client] = []

    def make(url: str, **options: Any) -> Client:
        client = Client(url, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def record() -> Callable[[Client], Recorder]:
    return Recorder

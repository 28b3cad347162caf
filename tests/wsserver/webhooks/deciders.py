"""A backend that decides who may connect, in the loop of the test; a library not of ours verifies each question."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from standardwebhooks import Webhook

from tests.backend import SECRET
from wsserver import App, Context, WebSocketServer
from wsserver.telemetry.metrics import BackendDecision
from wsserver.webhooks.settings import ConnectingSettings, HookUrl
from wsserver.webhooks.signing import SigningKeys

HANG_S = 20
UNDECIDED = ([], 1013, "The server could not decide about the connection; try again")


def answer(text: bytes, status: str = "200 OK", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n{head}\r\n".encode() + text


class Decider:
    """Answers `{}`, or what `decide` makes of a question: JSON, or bytes to write as they are; for None it hangs up."""

    def __init__(self) -> None:
        self.decide: Callable[[dict[str, Any]], Any] = lambda asked: {}
        self.asked: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.came = asyncio.Condition()
        self.connections: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        self.most = 0  # questions at once
        self.now = 0
        self.url = ""

    @property
    def settings(self) -> ConnectingSettings:
        return ConnectingSettings(HookUrl("--connecting-url", self.url), SigningKeys([SECRET], "test"))

    @property
    def has_peer(self) -> bool:
        """Whether somebody still waits for what is written."""
        return any(not reader.at_eof() and reader.exception() is None for reader in self.connections.values())

    async def wait_asked(self, count: int) -> None:
        async with asyncio.timeout(HANG_S), self.came:
            await self.came.wait_for(lambda: len(self.asked) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[writer] = reader
        try:
            while True:
                await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            del self.connections[writer]
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = await reader.readexactly(int(head["content-length"]))
        question = Webhook(SECRET).verify(body, head)
        assert question["type"] == "connecting"
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with self.came:
                self.heads.append(head)
                self.raw.append(body)
                self.asked.append(question["data"])
                self.came.notify_all()
            made = self.decide(question["data"])
            if inspect.isawaitable(made):
                made = await made
        finally:
            self.now -= 1
        if made is None:
            raise asyncio.CancelledError
        writer.write(made if isinstance(made, bytes) else answer(json.dumps(made).encode()))
        await writer.drain()


@asynccontextmanager
async def decider(host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Decider]:
    backend = Decider()
    server = await asyncio.start_server(backend.serve, host, 0, **options)
    scheme = "https" if "ssl" in options else "http"
    shown = f"[{host}]" if ":" in host else host
    backend.url = f"{scheme}://{shown}:{server.sockets[0].getsockname()[1]}/canary-path?k=canary-query"
    try:
        yield backend
    finally:
        server.close()
        for writer in tuple(backend.connections):
            writer.transport.abort()
        await asyncio.sleep(0)


def app_of(state: Callable[[], Any] | None = None) -> App:
    app = App(state=state)

    @app.on("who")
    def who(ctx: Context) -> None:
        principal = ctx.principal
        ctx.reply("you", [principal.user_id, principal.is_guest, sorted(principal.scopes), repr(ctx.state)])

    return app


def outcomes(server: WebSocketServer) -> dict[str, float]:
    found = {name: server.metrics.value("wsctl_connecting_decisions_total", outcome=name) for name in BackendDecision}
    return {name: count for name, count in found.items() if count}

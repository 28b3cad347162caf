"""A stand-in for a model server: keeps what it was asked, and answers as a test says, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ModelServer:
    """`answer` writes the response; the connection is closed after it."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answer: Answer | None = None
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def says(self, body: bytes | str, status: str = "200 OK", content_type: str = "application/json") -> None:
        """Answer with a whole body from now on."""
        data = body.encode() if isinstance(body, str) else body
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n".encode()

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(head + data)

        self.answer = answer


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """Serve on a free port."""
    it = ModelServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            it.asked.append(Asked(head[0].split()[1], headers, body))
            assert it.answer is not None
            await it.answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            it.hung_up.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield it

"""A TCP server of a test's own, of which nothing is left when the test goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(handle: Handle, *, limit: int = 1 << 16) -> AsyncIterator[int]:
    """Serve each connection with `handle`, at the port that this yields.

    At the end every handler is cancelled and every connection closed: a transport that is still open when the loop
    closes warns in the middle of another test.
    """
    running: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(reader, writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running[asyncio.get_running_loop().create_task(serve(reader, writer))] = writer

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for writer in running.values():
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

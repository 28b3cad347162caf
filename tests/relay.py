"""A way to a server that can be cut: a TCP relay, which lets nobody through while it is closed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.tcpserver import tcp_server


class Relay:
    """Passes bytes on to the server of `url`, and back; `target` may be another one later."""

    def __init__(self, url: str) -> None:
        self.target = url
        self.tries = 0
        self._opened = asyncio.Event()
        self._opened.set()
        self._tasks: list[asyncio.Task[None]] = []  # in the order of their coming
        self._ends = AsyncExitStack()
        self._port = 0

    async def __aenter__(self) -> Relay:
        self._port = await self._ends.enter_async_context(tcp_server(self._pass))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ends.aclose()

    @property
    def url(self) -> str:
        return urlunsplit(urlsplit(self.target)._replace(netloc=f"127.0.0.1:{self._port}"))

    async def cut(self) -> None:
        """Drop every connection, and hold up who comes until `mend`."""
        self._opened.clear()
        await self._end_all()

    async def drop(self, count: int) -> None:
        """Drop the connections that came last, so many of them; who comes again gets through at once."""
        tasks = self._tasks[-count:]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def mend(self) -> None:
        self._opened.set()

    async def _end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self.tries += 1
        writers = [writer]
        try:
            await self._opened.wait()
            parts = urlsplit(self.target)
            there, away = await asyncio.open_connection(parts.hostname, parts.port)
            writers.append(away)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, away))
                both.create_task(_copy(there, writer))
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.remove(task)
            for end in writers:
                end.transport.abort()
            for end in writers:
                with suppress(OSError):
                    await end.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(1 << 16):
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()

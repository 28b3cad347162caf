"""A TCP relay before a Redis, or a server, that delays, swallows, stalls and cuts."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class FaultRelay:
    """Listens on a free port and hands on to `port`, which may change; `start` it.

    `delay_s` holds every byte back, both ways. While `is_deaf`, nothing of Redis reaches who subscribes. While
    `flows` is not set, nothing of it is even read. The next connections end after so many bytes of the answers as
    `cuts` has for each of them.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay_s = 0.0
        self.cuts: list[int] = []
        self.is_deaf = False
        self.flows = asyncio.Event()
        self.flows.set()
        self.subscriptions = 0
        self._tasks: set[asyncio.Task] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.own_port = self._server.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{self.own_port}/0"

    def cut_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        self._server.close()
        self.cut_all()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        others = []
        left = self.cuts.pop(0) if self.cuts else None
        try:
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
            others.append(to_redis)
            kind = {"subscribes": False}
            up = asyncio.create_task(self._up(reader, to_redis, kind))
            down = asyncio.create_task(self._down(from_redis, writer, kind, left))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, *others):
                end.transport.abort()
            self._tasks.discard(task)

    async def _up(self, reader, writer, kind) -> None:
        while data := await reader.read(1 << 16):
            if b"\r\nSUBSCRIBE\r\n" in data and not kind["subscribes"]:
                kind["subscribes"] = True
                self.subscriptions += 1
            self._hand_on(writer, data)

    async def _down(self, reader, writer, kind, left) -> None:
        while data := await reader.read(1 << 16 if left is None else left):
            if left is not None:
                left -= len(data)
                if not left:
                    writer.write(data)
                    await writer.drain()
                    return
            if kind["subscribes"]:
                await self.flows.wait()
                if self.is_deaf:
                    continue
            self._hand_on(writer, data)

    def _hand_on(self, writer, data) -> None:
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self._write, writer, data)
        else:
            self._write(writer, data)

    def _write(self, writer, data) -> None:
        with suppress(OSError):
            if not writer.is_closing():
                writer.write(data)

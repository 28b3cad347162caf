"""What the supervisor asks its workers for the operations port, over a pair of sockets beside that of control.

A frame is its length (4 bytes), a number that its answer has too (4 bytes), and a text that only `wsserver.operations`
reads. The supervisor never waits longer than it says, and the worker answers a bounded number at a time.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

MAX_FRAME_BYTES: Final = 64 << 20  # what is asked and answered is bounded far below
MAX_UNSENT_BYTES: Final = 32 << 20  # to a worker that reads nothing
MAX_AT_ONCE: Final = 256  # questions that a worker works on; what is beyond waits in the socket
_HEAD: Final = struct.Struct("!II")

Respond = Callable[[bytes], Awaitable[bytes]]


class WorkerGoneError(Exception):
    """The worker ended before it has answered."""


class NotAskedError(WorkerGoneError):
    """Nothing was sent: the worker is gone, or reads nothing."""


class FrameTooLargeError(Exception):
    """A question or an answer that is too large for a frame."""


class _FrameLine:
    """One end: reads frames in a task, and writes them."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._writer: asyncio.StreamWriter | None = None
        self._reading = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Hang up."""
        self._reading.cancel()

    def _send(self, number: int, text: bytes) -> None:
        if self._writer is not None:
            self._writer.write(_HEAD.pack(len(text), number) + text)

    async def _run(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._end)
        try:
            while True:
                length, number = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                if length > MAX_FRAME_BYTES:
                    self._too_large(number)
                    await _skip(reader, length)
                else:
                    await self._take(number, await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._writer.transport.abort()
            self._ended()

    async def _take(self, number: int, text: bytes) -> None:
        raise NotImplementedError

    def _too_large(self, number: int) -> None:
        """A frame comes that is not read: its question has no answer, and all others do."""

    def _ended(self) -> None:
        """The other end is gone."""


class QuestionLine(_FrameLine):
    """The supervisor's end of one worker; `is_late` from a question without an answer in time until the next answer."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end)
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._is_gone = False
        self.is_late = False

    @property
    def is_open(self) -> bool:
        """Whether the worker can be asked."""
        return not self._is_gone and self._writer is not None

    async def ask(self, question: bytes, within_s: float) -> bytes:
        """Return the answer; raises TimeoutError, WorkerGoneError and FrameTooLargeError."""
        if self._is_gone or self._writer is None or self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise NotAskedError
        if len(question) > MAX_FRAME_BYTES:
            raise FrameTooLargeError
        self._number = (self._number + 1) & 0xFFFFFFFF
        number = self._number
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._send(number, question)
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            self.is_late = True
            raise
        finally:
            del self._waiting[number]

    async def _take(self, number: int, text: bytes) -> None:
        self.is_late = False
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(text)

    def _too_large(self, number: int) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_exception(FrameTooLargeError())

    def _ended(self) -> None:
        self._is_gone = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerGoneError())


class AnswerLine(_FrameLine):
    """A worker's end; `respond` returns the answer to a question."""

    def __init__(self, end: socket.socket, respond: Respond) -> None:
        super().__init__(end)
        self._respond = respond
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def _take(self, number: int, text: bytes) -> None:
        await self._places.acquire()
        task = asyncio.get_running_loop().create_task(self._answer(number, text))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _answer(self, number: int, text: bytes) -> None:
        answer = await self._respond(text)
        self._send(number, answer if len(answer) <= MAX_FRAME_BYTES else b"")  # which is no answer, and told at once
        if self._writer is not None:
            with suppress(OSError):
                await self._writer.drain()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    def _ended(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _skip(reader: asyncio.StreamReader, length: int) -> None:
    while length:
        part = await reader.read(min(length, MAX_FRAME_BYTES))
        if not part:
            return
        length -= len(part)

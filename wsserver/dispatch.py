"""Calls of an app's code that wait for their turn, run in order per connection (design section 5, point 3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from wsserver.channel import Channel

# When this many messages wait for a connection's handlers it is read no further, so TCP holds the peer back.
HIGH_WATER: Final = 64


class HandlerTasks:
    """Every running handler task of a server, so that a shutdown can wait for them."""

    __slots__ = ("_is_cancelling", "_tasks")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cancelling = False

    def start(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one queue until it is empty."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def is_cancelling(self) -> bool:
        """Whether the end of the server cancels them."""
        return self._is_cancelling

    async def finish(self, timeout_s: float) -> None:
        """Wait for all of them, also those that start meanwhile, then cancel what is left."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=max(0, deadline_s - loop.time()))
            if loop.time() >= deadline_s:
                break
        self._is_cancelling = True
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._is_cancelling = False


J = TypeVar("J")


class HandlerQueue(Generic[J]):
    """The jobs of one connection; a task runs only while there are any.

    `perform` runs one and takes whatever it raises. A job that ends the task nevertheless, since it was cancelled,
    takes none of those behind it along.
    """

    __slots__ = ("_channel", "_jobs", "_perform", "_reading", "_task", "_tasks")

    def __init__(self, channel: Channel, tasks: HandlerTasks, perform: Callable[[J], Awaitable[None]]) -> None:
        self._channel = channel
        self._tasks = tasks
        self._perform = perform
        self._jobs: deque[J] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading = True

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits, so that a later message must queue behind it."""
        return self._task is not None

    @property
    def holds_peer_back(self) -> bool:
        """Whether the peer is not read, and so cannot give a sign of life."""
        return not self._reading

    def put(self, job: J) -> None:
        """Add a job; past the high-water mark the peer is no longer read until half of them are done."""
        self._jobs.append(job)
        if self._task is None:
            self._start()
        elif self._reading and len(self._jobs) >= HIGH_WATER:
            self._reading = False
            self._channel.pause_reading()

    def _start(self) -> None:
        self._task = self._tasks.start(self._run())
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._jobs:
            try:
                await self._perform(self._jobs.popleft())
            finally:
                self._read_on()

    def _read_on(self) -> None:
        if not self._reading and len(self._jobs) <= HIGH_WATER // 2:
            self._reading = True
            self._channel.resume_reading()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # what is not asked for, asyncio logs itself: it is logged already
        self._task = None
        if self._jobs and not self._tasks.is_cancelling:
            self._start()

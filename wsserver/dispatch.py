"""Async handlers of an app, run in order per connection (design section 5, point 3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from wsserver.channel import Channel

Job = Callable[[], Awaitable[None]]

# When this many messages wait for a connection's handlers it is read no further, so TCP holds the peer back.
HIGH_WATER: Final = 64


class HandlerTasks:
    """Every running handler task of a server, so that a shutdown can wait for them."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, run: Coroutine[Any, Any, None]) -> None:
        """Run one queue until it is empty."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, timeout_s: float) -> None:
        """Wait for all of them, then cancel what is left."""
        if self._tasks:
            _, left = await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


class HandlerQueue:
    """The jobs of one connection; a task runs only while there are any. Jobs handle their own exceptions."""

    __slots__ = ("_channel", "_jobs", "_reading", "_running", "_tasks")

    def __init__(self, channel: Channel, tasks: HandlerTasks) -> None:
        self._channel = channel
        self._tasks = tasks
        self._jobs: deque[Job] = deque()
        self._running = False
        self._reading = True

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits, so that a later message must queue behind it."""
        return self._running

    @property
    def holds_peer_back(self) -> bool:
        """Whether the peer is not read, and so cannot give a sign of life."""
        return not self._reading

    def put(self, job: Job) -> None:
        """Add a job; past the high-water mark the peer is no longer read until half of them are done."""
        self._jobs.append(job)
        if not self._running:
            self._running = True
            self._tasks.start(self._run())
        elif self._reading and len(self._jobs) >= HIGH_WATER:
            self._reading = False
            self._channel.pause_reading()

    async def _run(self) -> None:
        try:
            while self._jobs:
                await self._jobs.popleft()()
                if not self._reading and len(self._jobs) <= HIGH_WATER // 2:
                    self._reading = True
                    self._channel.resume_reading()
        finally:
            self._running = False

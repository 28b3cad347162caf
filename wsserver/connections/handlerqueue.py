"""Calls of an app's code that wait for their turn, run in order per connection (design section 5, point 3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

from wsserver.connections.inbound import InboundMemory
from wsserver.connections.peerclose import PeerCloseWatcher
from wsserver.engines.channel import Channel

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
        """Whether the end of the server has cancelled them."""
        return self._is_cancelling

    async def wait(self, timeout_s: float) -> None:
        """Wait for all of them, also those that start meanwhile, at most `timeout_s`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while self._tasks and (left_s := deadline_s - loop.time()) > 0:
            await asyncio.wait(tuple(self._tasks), timeout=left_s)

    async def cancel(self, timeout_s: float) -> int:
        """Cancel what is left, and start no more; returns how many have not ended in that time nevertheless."""
        self._is_cancelling = True
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=timeout_s)
        return len(self._tasks)


class QueuedCall(Protocol):
    """One call that waits or runs; `size` is what it holds, in bytes."""

    size: int
    is_cancelled: bool

    @property
    def outlives_client(self) -> bool:
        """Whether it goes on when its client is gone."""

    def drop(self) -> None:
        """Give up a call that has not begun."""


J = TypeVar("J", bound=QueuedCall)


class HandlerQueue(Generic[J]):
    """The jobs of one connection; a task runs only while there are any.

    `perform` runs one and takes whatever it raises. A job that ends the task nevertheless, since it was cancelled,
    takes none of those behind it along. `limit` is how many bytes may wait before the peer is read no further.
    """

    __slots__ = (
        "_bytes",
        "_channel",
        "_close_watcher",
        "_current",
        "_is_held_back",
        "_is_over",
        "_jobs",
        "_limit",
        "_memory",
        "_perform",
        "_task",
        "_tasks",
        "_was_held_back",
    )

    def __init__(
        self,
        channel: Channel | None,
        tasks: HandlerTasks,
        memory: InboundMemory,
        close_watcher: PeerCloseWatcher,
        limit: int,
        perform: Callable[[J], Awaitable[None]],
    ) -> None:
        self._channel = channel  # None once the client is gone
        self._tasks = tasks
        self._memory = memory
        self._close_watcher = close_watcher
        self._limit = limit
        self._perform = perform
        self._jobs: deque[J] = deque()
        self._current: J | None = None
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._is_over = False  # over this connection's own limits
        self._is_held_back = False  # since all connections together are over theirs
        self._was_held_back = False

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits, so that a later message must queue behind it."""
        return self._task is not None

    @property
    def holds_peer_back(self) -> bool:
        """Whether the peer is not read, and so cannot give a sign of life."""
        return self._is_over or self._is_held_back

    def excuses_silence(self) -> bool:
        """Tell whether the peer could give no sign of life: it is not read, or was not since this was asked last.

        Who is read again has its whole time for one, however long it was held back.
        """
        excuses, self._was_held_back = self.holds_peer_back or self._was_held_back, False
        return excuses

    def put(self, job: J) -> None:
        """Add a job; past a limit the peer is no longer read, until half of what waits is done."""
        self._jobs.append(job)
        self._bytes += job.size
        self._memory.take(self, job.size)
        if self._task is None:
            self._start()
        elif len(self._jobs) >= HIGH_WATER:
            self._read(over=True, held_back=self._is_held_back)
        if self._bytes >= self._limit:
            self._read(over=True, held_back=self._is_held_back)

    def hold_back(self) -> None:
        """Stop reading from the peer until `let_go`: all connections together are over their limit."""
        self._read(over=self._is_over, held_back=True)

    def let_go(self) -> None:
        """Read again, unless the connection is over its own limits."""
        self._read(over=self._is_over, held_back=False)

    def leave(self, *, cancel: bool) -> int:
        """Drop what waits for a client that is gone, and with `cancel` end what runs, but for what outlives it.

        Returns how many were dropped.
        """
        if self._channel is not None:
            self._close_watcher.forget(self._channel)
            self._channel = None
        self._memory.forget(self)
        current = self._current
        if cancel and self._task is not None and current is not None and not current.outlives_client:
            current.is_cancelled = True
            self._task.cancel()
        return self._drop(lambda job: not job.outlives_client)

    def _drop(self, is_dropped: Callable[[J], bool]) -> int:
        jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            if is_dropped(job):
                job.drop()
                self._give(job)
            else:
                self._jobs.append(job)
        return len(jobs) - len(self._jobs)

    def _start(self) -> None:
        self._task = self._tasks.start(self._run())
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._jobs:
            self._current = job = self._jobs.popleft()
            try:
                await self._perform(job)
            finally:
                self._current = None
                self._give(job)
                if self._is_over and len(self._jobs) <= HIGH_WATER // 2 and self._bytes <= self._limit // 2:
                    self._read(over=False, held_back=self._is_held_back)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # what is not asked for, asyncio logs itself: it is logged already
        self._task = None
        if self._tasks.is_cancelling:
            self._drop(lambda job: True)
        elif self._jobs:
            self._start()

    def _give(self, job: J) -> None:
        self._bytes -= job.size
        self._memory.give(self, job.size, has_more=self._bytes > 0)

    def _read(self, *, over: bool, held_back: bool) -> None:
        """Read from the peer or not, as the two reasons against it say."""
        held_before = self.holds_peer_back
        self._is_over, self._is_held_back = over, held_back
        if self._channel is None or self.holds_peer_back == held_before:
            return
        if held_before:
            self._was_held_back = True
            self._close_watcher.forget(self._channel)
            self._channel.resume_reading()
        else:
            self._channel.pause_reading()
            self._close_watcher.watch(self._channel)

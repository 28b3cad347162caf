"""A pool of worker processes: streams of calls to an engine that may block, hang or crash."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from wscore.errors import ConfigError
from wsserver.telemetry.logs import EventLog
from wsserver.voice.stages import StageError
from wsserver.voice.workers.worker import Launch, ModelWorker, WorkerLostError

MAX_SIZE: Final = 4
LOAD_TIMEOUT_MS: Final = 60_000
GRACE_S: Final = 1.0
MARGIN_S: Final = 0.1  # beyond the timeout, so that of a call that hangs the worker is the first to tell
FIRST_BACKOFF_S: Final = 0.25
MAX_BACKOFF_S: Final = 30.0


class ModelStream:
    """One caller's calls, served in order by one worker, which keeps the caller's session between them."""

    __slots__ = ("_closed", "_name", "_outstanding", "_timeout_s", "_turn", "_worker", "id")

    def __init__(self, name: str, worker: ModelWorker, timeout_s: float) -> None:
        self._name = name
        self._worker = worker
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._outstanding: asyncio.Future[bytes | StageError] | None = None
        self._closed = False
        self.id = worker.add_stream()

    async def begin(self) -> None:
        """Have the worker start the session; `Pool.start` has done it."""
        await self._ask(None, b"")

    async def call(self, op: str, payload: bytes = b"") -> bytes:
        """Have the engine do something for this stream; returns its answer.

        Calls of one stream are made one after the other: a second one waits until the first is answered, even when
        whoever waited for that was cancelled. Raises StageError:

        - the engine raised it, or any other exception: the stream may be used further;
        - no answer within the pool's timeout since others keep the worker busy: the stream may be used further;
        - the call itself took longer than the timeout, or the worker died: every later call of the stream fails too;
        - the stream or the pool was closed.
        """
        return await self._ask(op, payload)

    def close(self) -> None:
        """Forget the session; a call under way fails with StageError. May be called more than once."""
        if self._closed:
            return
        self._closed = True
        self._worker.remove_stream(self.id)
        if self._outstanding is not None and not self._outstanding.done():
            self._outstanding.set_result(StageError(self._name, "the stream was closed"))

    async def _ask(self, op: str | None, payload: bytes) -> bytes:
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s + MARGIN_S
        async with self._turn:
            if self._outstanding is not None and not self._outstanding.done():
                await self._answer(self._outstanding, deadline_s)
            if self._closed:
                raise StageError(self._name, "the stream was closed")
            self._outstanding = self._worker.send(self.id, op, payload)
            answer = await self._answer(self._outstanding, deadline_s)
            if isinstance(answer, StageError):
                raise answer
            return answer

    async def _answer(self, outstanding: asyncio.Future[bytes | StageError], deadline_s: float) -> bytes | StageError:
        left_s = deadline_s - asyncio.get_running_loop().time()
        await asyncio.wait({outstanding}, timeout=max(left_s, 0))
        if not outstanding.done():
            raise StageError(self._name, f"overloaded: no answer within {self._timeout_s * 1000:.0f} ms")
        return outstanding.result()


class Pool:
    """Processes that each load an engine and serve the calls of many streams.

    `name` is the backend's, for errors and logs. `engine` is "module:Class", see `engines`; `arguments` are the
    class's keyword arguments, anything that MessagePack can hold. `size` processes are started, by default one per
    core and at most four.

    A worker whose call lasts longer than `timeout_ms` is killed: this is how a native call that hangs ends. A killed
    or dead worker fails the calls of its streams with StageError and is restarted in the background, with growing
    pauses when it keeps dying. Other workers' streams notice nothing.
    """

    def __init__(
        self,
        name: str,
        engine: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        size: int | None = None,
        timeout_ms: int = 10_000,
        load_timeout_ms: int = LOAD_TIMEOUT_MS,
        log: EventLog | None = None,
    ) -> None:
        self.name = name
        self._log = log or EventLog()
        self._launch = Launch(name, engine, dict(arguments or {}), timeout_ms / 1000, load_timeout_ms / 1000, self._log)
        self._size = size or min(os.cpu_count() or 1, MAX_SIZE)
        self._workers: list[ModelWorker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._live = asyncio.Event()
        self._open = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that serve calls now."""
        return tuple(worker.pid for worker in self._workers)

    async def open(self) -> None:
        """Start the workers and wait until each has loaded its engine; raises ConfigError when one cannot."""
        launches = [asyncio.create_task(self._launch.worker()) for _ in range(self._size)]
        try:
            workers = await asyncio.gather(*launches)
        except BaseException:
            for launch in launches:
                launch.cancel()
            results = await asyncio.gather(*launches, return_exceptions=True)
            await _end([result for result in results if isinstance(result, ModelWorker)])
            raise
        self._open = True
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in workers]
        for worker in workers:
            self._add(worker)

    async def close(self) -> None:
        """End every worker within about a second; calls under way fail with StageError."""
        self._open = False
        self._live.set()  # those who wait for a worker learn that none will come
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await _end(list(self._workers))

    async def start(self) -> ModelStream:
        """Begin a stream on the least busy worker; waits for one to be restarted when there is none.

        Raises StageError when the engine does, or when no worker was there within the pool's timeout.
        """
        deadline_s = asyncio.get_running_loop().time() + self._launch.timeout_s
        try:
            return await self._start(await self._least_busy(deadline_s))
        except WorkerLostError:
            # It may have died before it was asked, so another one gets a chance; one only, should this kill workers.
            return await self._start(await self._least_busy(deadline_s))

    async def _start(self, worker: ModelWorker) -> ModelStream:
        stream = ModelStream(self.name, worker, self._launch.timeout_s)
        try:
            await stream.begin()
        except BaseException:
            stream.close()
            raise
        return stream

    async def _least_busy(self, deadline_s: float) -> ModelWorker:
        try:
            async with asyncio.timeout_at(deadline_s):
                while self._open and not self._workers:
                    await self._live.wait()
        except TimeoutError:
            raise StageError(self.name, "no worker is running") from None
        if not self._open:
            raise StageError(self.name, "closed")
        return min(self._workers, key=lambda worker: worker.business)

    def _add(self, worker: ModelWorker) -> None:
        self._workers.append(worker)
        self._live.set()
        worker.on_lost(self._remove)

    def _remove(self, worker: ModelWorker) -> None:
        self._workers.remove(worker)
        if not self._workers:
            self._live.clear()

    async def _keep(self, worker: ModelWorker) -> None:
        """Replace a worker whenever it is gone."""
        pause_s = 0.0
        while True:
            problem = await worker.gone()
            self._log.warning("voice.worker_lost", stage=self.name, pid=worker.pid, problem=problem)
            # One that served somebody is restarted at once; one that never did may be in a crash loop.
            pause_s = 0.0 if worker.has_served else _longer(pause_s)
            worker, pause_s = await self._replace(pause_s)
            self._log.warning("voice.worker_restarted", stage=self.name, pid=worker.pid)
            self._add(worker)

    async def _replace(self, pause_s: float) -> tuple[ModelWorker, float]:
        while True:
            await asyncio.sleep(pause_s)
            try:
                return await self._launch.worker(), pause_s
            except ConfigError as error:
                pause_s = _longer(pause_s)
                self._log.warning("voice.worker_refused", stage=self.name, problem=str(error))


def _longer(pause_s: float) -> float:
    return min(max(pause_s * 2, FIRST_BACKOFF_S), MAX_BACKOFF_S)


async def _end(workers: list[ModelWorker]) -> None:
    await asyncio.gather(*(worker.end(GRACE_S) for worker in workers))

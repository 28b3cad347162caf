"""Keeps workers running: restarts with back-off, hands a slot over while its worker is down, rolls and ends them all.

Its only children are workers. It never touches a connection: the sockets are bound here and accepted at there.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from wsserver.telemetry.logs import EventLog
from wsserver.workers.process import WorkerProcess

STEADY_S: Final = 10.0  # a worker that lived for so long did not fail at its start
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0
START_S: Final = 60.0  # how long a worker may take to serve: an app may load a model
KILL_S: Final = 2.0  # beyond its own time for a shutdown

StartWorker = Callable[[int], Awaitable[WorkerProcess]]


class _Slot:
    """A place for a worker: who is there, who accepts instead, and how often in a row it failed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: WorkerProcess | None = None
        self.adopter: WorkerProcess | None = None
        self.failures = 0
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs `count` workers, which `start` starts. `drain_s` is how long a worker's shutdown takes at most."""

    def __init__(
        self,
        count: int,
        start: StartWorker,
        *,
        drain_s: float,
        log: EventLog,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._slots = [_Slot(number) for number in range(count)]
        self._start = start
        self._drain_s = drain_s
        self._log = log
        self._sleep = sleep
        self._rolling: asyncio.Task[None] | None = None
        self._beside: set[WorkerProcess] = set()  # those that start, or end, and have no slot
        self._is_stopping = False
        self.url = ""

    @property
    def count(self) -> int:
        """How many workers there are to be."""
        return len(self._slots)

    @property
    def serving(self) -> dict[int, WorkerProcess]:
        """The workers that serve, by slot."""
        return {slot.number: slot.worker for slot in self._slots if slot.worker and slot.worker.is_serving}

    async def begin(self) -> int | None:
        """Start all; returns None once all serve, else the code with which one ended instead.

        One goes ahead: what is wrong with the settings or the app is wrong for all, and is said once.
        """
        first, *others = self._slots
        if code := await self._begin_at(first):
            return code
        for code in await asyncio.gather(*map(self._begin_at, others)):
            if code is not None:
                return code
        for slot in self._slots:
            slot.task = asyncio.get_running_loop().create_task(self._keep(slot))
        return None

    def roll(self) -> asyncio.Task[None]:
        """Exchange the workers for new ones, one by one, each on the same sockets before the old one ends.

        Returns the task that does it; one that is under way goes on, and then all are exchanged once more.
        """
        before = self._rolling

        async def roll() -> None:
            if before is not None:
                await asyncio.wait((before,))
            if not self._is_stopping:
                await self._roll()

        self._rolling = asyncio.get_running_loop().create_task(roll())
        return self._rolling

    async def stop(self) -> bool:
        """End all in order, within one budget; returns whether all did."""
        self._is_stopping = True
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        if self._rolling is not None:
            tasks.append(self._rolling)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        codes = await asyncio.gather(*(worker.end(self._drain_s + KILL_S) for worker in self._living()))
        if self.url:  # else none has served, and why was said
            self._log.info("workers.stopped", killed=codes.count(-signal.SIGKILL))
        return not any(codes)

    def hurry(self) -> None:
        """End all at once: a second signal."""
        for worker in self._living():
            worker.signal(signal.SIGTERM)

    def _living(self) -> list[WorkerProcess]:
        workers = {slot.worker for slot in self._slots if slot.worker is not None} | self._beside
        return [worker for worker in workers if not worker.ended.done()]

    async def _begin_at(self, slot: _Slot) -> int | None:
        worker = await self._serving(slot)
        if worker is None or not worker.is_serving:
            return 1 if worker is None else await worker.ended or 1
        self._place(slot, worker)
        return None

    async def _serving(self, slot: _Slot) -> WorkerProcess | None:
        """Start a worker and wait until it serves, or has ended instead; None if it could not be started."""
        try:
            worker = await self._start(slot.number)
        except OSError as error:
            self._log.error("worker.not_started", slot=slot.number, problem=error.strerror or str(error))
            return None
        self._beside.add(worker)
        try:
            self._log.info("worker.started", slot=slot.number, pid=worker.pid)
            await asyncio.wait((worker.ready,), timeout=START_S)
            if not worker.ready.done():
                self._log.error("worker.never_served", slot=slot.number, pid=worker.pid)
                await worker.end(KILL_S)
        finally:
            if worker.ended.done() or worker.ready.done():
                self._beside.discard(worker)
        return worker

    def _place(self, slot: _Slot, worker: WorkerProcess) -> None:
        slot.worker = worker
        self.url = worker.ready.result() or self.url
        self._log.info("worker.serving", slot=slot.number, pid=worker.pid)
        adopter, slot.adopter = slot.adopter, None
        if adopter is not None:
            adopter.tell(release=slot.number)

    async def _keep(self, slot: _Slot) -> None:
        """Have a slot served for as long as this runs."""
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        while True:
            worker = slot.worker
            if worker is not None:
                await asyncio.wait((worker.ended,))
                if slot.worker is not worker:  # it was exchanged
                    since_s = loop.time()
                    continue
                self._log.error("worker.ended", slot=slot.number, pid=worker.pid, **_how(worker.ended.result()))
                slot.worker = None
                slot.failures = 0 if loop.time() - since_s >= STEADY_S else slot.failures + 1
                self._adopt_all()
            if slot.failures > 1:
                delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (slot.failures - 2))
                self._log.warning("worker.waits", slot=slot.number, seconds=delay_s, failures=slot.failures)
                await self._sleep(delay_s)
            since_s = loop.time()
            started = await self._serving(slot)
            if started is None or not started.is_serving:
                if started is not None:
                    self._log.error("worker.ended", slot=slot.number, pid=started.pid, **_how(await started.ended))
                slot.failures = max(slot.failures, 1) + 1
                continue
            self._place(slot, started)

    def _adopt_all(self) -> None:
        """Have somebody accept at each slot that nobody accepts at."""
        serving = [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.is_serving]
        if not serving:
            return
        for slot in self._slots:
            is_served = slot.worker is not None and slot.worker.is_serving
            if is_served or (slot.adopter is not None and slot.adopter.is_serving):
                continue
            adopters = [other.adopter for other in self._slots]
            slot.adopter = min(serving, key=adopters.count)
            slot.adopter.tell(adopt=slot.number)
            self._log.info("worker.adopts", slot=slot.number, pid=slot.adopter.pid)

    async def _roll(self) -> None:
        self._log.info("workers.rolling", count=len(self._slots))
        for slot in self._slots:
            old = slot.worker
            if old is None:
                continue  # it is about to be started anyway
            new = await self._serving(slot)
            if new is None or not new.is_serving:
                code = {} if new is None else _how(await new.ended)
                self._log.error("workers.not_rolled", slot=slot.number, kept=old.pid, **code)
                return
            if slot.worker is not old or old.ended.done():  # it ended meanwhile, and was replaced
                await new.end(self._drain_s + KILL_S)
                continue
            self._place(slot, new)
            for other in self._slots:
                if other.adopter is old:
                    other.adopter = None
            self._adopt_all()
            self._beside.add(old)
            await old.end(self._drain_s + KILL_S)
            self._beside.discard(old)
            self._log.info("worker.rolled", slot=slot.number, old=old.pid, new=new.pid)
        self._log.info("workers.rolled", count=len(self._slots))


def _how(code: int) -> dict[str, object]:
    return {"signal": signal.Signals(-code).name} if code < 0 else {"code": code}

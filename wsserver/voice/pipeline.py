"""What all callers of one voice app share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from wsserver.telemetry.logs import EventLog
from wsserver.voice.settings import TurnPolicy
from wsserver.voice.stagecalls import StageCalls
from wsserver.voice.stages import Stages

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages and how to call them, the turn policy, monotonic seconds and a way to let them pass."""

    stages: Stages
    turns: TurnPolicy
    calls: StageCalls
    now_s: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    log: EventLog


class Tasks:
    """The running tasks of one caller, so that none outlives it."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something until it is done or the caller is gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def cancel(self, timeout_s: float) -> None:
        """Cancel all of them and wait until they have ended; one that does not listen is left after `timeout_s`."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task handles it; one that nobody waits for was given up

"""What an app sets up before the server listens and takes down after everyone has left, nested one in the other."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from wscore.errors import ConfigError, WsctlError
from wsserver.sdk.background import BackgroundTasks
from wsserver.sdk.failures import is_thrown_away
from wsserver.sdk.handlers import name_of, underlying
from wsserver.sdk.hub import Hub
from wsserver.sdk.resources import Resources
from wsserver.telemetry.budget import ALL, BACKGROUND, LIFESPANS, Budget
from wsserver.telemetry.logs import EventLog

Lifespan = Callable[[Hub], AsyncIterator[object]]


class LifespanError(WsctlError):
    """What an app does at the end failed; the others of its lifespans have ended nevertheless."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"APP: its lifespan failed at the end: {self.problem} (in {self.name})"


def check_lifespan(function: object) -> None:
    """Raise ConfigError for what is no lifespan."""
    if not inspect.isasyncgenfunction(underlying(function)):
        raise ConfigError(name_of(function), "a lifespan is an async function with one yield")


class Lifespans:
    """The lifespans of one app: they start in order and end in reverse, also when one of them fails.

    They run in one task of their own from start to end, as an asyncio.TaskGroup within one asks for. What was
    spawned meanwhile ends before them, since it works with what they have set up.
    """

    __slots__ = (
        "_background",
        "_entered",
        "_failed",
        "_functions",
        "_is_cut",
        "_leaving",
        "_log",
        "_over",
        "_ready",
        "_resources",
        "_task",
    )

    def __init__(
        self, functions: Sequence[Lifespan], background: BackgroundTasks, resources: Resources, log: EventLog
    ) -> None:
        self._functions = functions
        self._background = background
        self._resources = resources
        self._log = log
        self._entered: list[tuple[str, AbstractAsyncContextManager[object], object]] = []
        self._failed: Exception | SystemExit | KeyboardInterrupt | None = None  # what enter or leave is to raise
        self._is_cut = False  # its time is over
        self._leaving = ""
        self._over = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, hub: Hub) -> None:
        """Run each up to its yield; when one fails, those before it end, and it raises ConfigError."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(hub), name="lifespans")
        ready = loop.create_task(self._ready.wait())
        try:
            await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._cut(self._task)
            await asyncio.wait((self._task,))
            raise
        finally:
            ready.cancel()
        if not self._ready.is_set():
            self._raise_failure()

    async def leave(self, budget: Budget) -> tuple[str, ...]:
        """Run what follows the yields, the last one first; returns what did not end in time.

        Raises LifespanError, or what ends the program, at last.
        """
        left = tuple(f"the task {name}" for name in await self._background.finish(budget.left_s(BACKGROUND)))
        if self._task is None:
            return left
        self._over.set()
        await asyncio.wait((self._task,), timeout=budget.left_s(LIFESPANS))
        if not self._task.done():
            self._cut(self._task)
            await asyncio.wait((self._task,), timeout=budget.left_s(ALL))
        if not self._task.done():
            return (*left, f"the lifespan {self._leaving}")
        if not left:
            self._raise_failure()
        return left

    def _cut(self, task: asyncio.Task[None]) -> None:
        self._is_cut = True
        task.cancel()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _run(self, hub: Hub) -> None:
        if not await self._enter_all(hub):
            return
        self._ready.set()
        # Cancelled by a task group whose task failed, or with the whole loop: what follows the yields runs anyway.
        with suppress(asyncio.CancelledError):
            await self._over.wait()
        await self._leave_all()

    async def _enter_all(self, hub: Hub) -> bool:
        for function in self._functions:
            name = name_of(function)
            context = asynccontextmanager(function)(hub)
            try:
                resource = await context.__aenter__()
                self._entered.append((name, context, resource))
                if resource is not None:
                    self._resources.add(resource)
            except BaseException as error:  # an app's code may raise anything
                if isinstance(error, GeneratorExit) and is_thrown_away():
                    raise
                await self._leave_all()
                if isinstance(error, (ConfigError, SystemExit, KeyboardInterrupt)):  # the first says what to mend
                    self._failed = error
                elif not (self._is_cut and isinstance(error, asyncio.CancelledError)):
                    self._log.failure("app.failed", error, lifespan=name)
                    self._failed = ConfigError("APP", f"its lifespan failed: {_problem(error)} (in {name})")
                return False
        return True

    async def _leave_all(self) -> None:
        while self._entered:
            self._leaving, context, resource = self._entered.pop()
            self._resources.remove(resource)
            failed: Exception | SystemExit | KeyboardInterrupt
            try:
                # Nothing is thrown in, whatever went wrong: what follows the yield shall run.
                await context.__aexit__(None, None, None)
                continue
            except (SystemExit, KeyboardInterrupt) as error:
                failed = error
            except BaseException as error:  # an app's code may raise anything
                if isinstance(error, GeneratorExit) and is_thrown_away():
                    raise
                if self._is_cut and isinstance(error, asyncio.CancelledError):
                    failed = LifespanError(self._leaving, "it did not end in time, and was cancelled")
                else:
                    self._log.failure("app.failed", error, lifespan=self._leaving)
                    failed = LifespanError(self._leaving, _problem(error))
            self._failed = self._failed or failed


def _problem(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

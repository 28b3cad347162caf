"""What an app sets up before the server listens and takes down after everyone has left, nested one in the other."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from wscore.errors import ConfigError, WsctlError
from wsserver.background import BackgroundTasks
from wsserver.failures import ends_the_caller
from wsserver.handlers import name_of, underlying
from wsserver.hub import Hub
from wsserver.logs import EventLog

Lifespan = Callable[[Hub], AsyncIterator[None]]


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

    What was spawned meanwhile ends before them, since it works with what they have set up; it gets `grace_s` for that.
    """

    __slots__ = ("_background", "_entered", "_functions", "_grace_s", "_log")

    def __init__(
        self, functions: Sequence[Lifespan], background: BackgroundTasks, log: EventLog, *, grace_s: float
    ) -> None:
        self._functions = functions
        self._background = background
        self._log = log
        self._grace_s = grace_s
        self._entered: list[tuple[str, AbstractAsyncContextManager[None]]] = []

    async def enter(self, hub: Hub) -> None:
        """Run each up to its yield; when one fails, those before it end, and it raises ConfigError."""
        for function in self._functions:
            name = name_of(function)
            context = asynccontextmanager(function)(hub)
            try:
                await context.__aenter__()
            except BaseException as error:  # an app's code may raise anything
                await self._leave_logging()
                if isinstance(error, ConfigError) or ends_the_caller(error):  # the one says what to mend
                    raise
                self._log.failure("app.failed", error, lifespan=name)
                raise ConfigError("APP", f"its lifespan failed: {_problem(error)} (in {name})") from None
            self._entered.append((name, context))

    async def leave(self) -> None:
        """Run what follows the yields, the last one first; raises LifespanError, or what ends the program, at last."""
        failed = await self._leave_logging()
        if failed is not None:
            name, error = failed
            if ends_the_caller(error):
                raise error
            raise LifespanError(name, _problem(error)) from None

    async def _leave_logging(self) -> tuple[str, BaseException] | None:
        await self._background.finish(self._grace_s)
        failed: tuple[str, BaseException] | None = None
        while self._entered:
            name, context = self._entered.pop()
            try:
                # Nothing is thrown in, whatever went wrong: what follows the yield shall run.
                await context.__aexit__(None, None, None)
            except BaseException as error:  # an app's code may raise anything
                if not ends_the_caller(error):
                    self._log.failure("app.failed", error, lifespan=name)
                failed = failed or (name, error)
        return failed


def _problem(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

"""Coroutines that an app runs beside its handlers: held, watched, and ended with the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from wsserver.sdk.failures import Failures, is_thrown_away

T = TypeVar("T")


class BackgroundTasks:
    """Runs an app's own coroutines and what its threads call; what fails leaves a log line with name and traceback.

    Made on the thread of the event loop.
    """

    __slots__ = ("_ending", "_failures", "_loop", "_tasks", "_thread_id")

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine until it ends, or the server does; raises TypeError, or RuntimeError after the end."""
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(f"expected a coroutine, as an async function returns it when called, got {coroutine!r}")
        if self._ending:
            coroutine.close()
            raise RuntimeError("the server has ended, and runs no more tasks")
        label = str(getattr(coroutine, "__qualname__", "task")) if name is None else name
        task = asyncio.get_running_loop().create_task(self._watch(coroutine, label), name=label)
        self._tasks.add(task)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            coroutine.close()  # no effect but for one that was cancelled before it began
            if not task.cancelled():
                task.exception()  # it is logged already: asyncio need not do it again

        task.add_done_callback(ended)
        return task

    def from_thread(self, call: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Future[T]:
        """Call on the event loop, for another thread; raises RuntimeError on its own, and once it is closed."""
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("from_thread is for other threads: on the event loop call it directly")
        future: Future[T] = Future()
        self._loop.call_soon_threadsafe(self._call, future, call, args, kwargs)
        return future

    def _call(self, future: Future[T], call: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Call for another thread, which may look at the future or not: a failure is logged all the same."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as error:  # an app's code may raise anything
            self._failures.task(getattr(call, "__qualname__", repr(call)), error)
            future.set_exception(error)

    async def finish(self, timeout_s: float) -> tuple[str, ...]:
        """Cancel all of them and wait until they have ended; returns the names of those that did not in that time.

        Nothing can be spawned any more.
        """
        self._ending = True
        if not self._tasks:
            return ()
        for task in self._tasks:
            task.cancel()
        _, left = await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        return tuple(task.get_name() for task in left)

    async def _watch(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        task = asyncio.current_task()
        assert task is not None
        try:
            return await coroutine
        except asyncio.CancelledError as error:
            if not task.cancelling():  # nobody asked it to end: what it waited for was cancelled
                self._failures.task(name, error)
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            self._failures.task(name, error)
            raise asyncio.CancelledError from error  # as it is, it would end the loop before the server
        except BaseException as error:  # an app's code may raise anything
            if not (isinstance(error, GeneratorExit) and is_thrown_away()):
                self._failures.task(name, error)
            raise

"""Calls an app's code: a plain handler at once, anything that may wait in its connection's turn."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from wscore.codes import ErrorCode
from wscore.envelope import NO_DATA, InvalidMessageError
from wsserver.connections import Connection
from wsserver.context import Context
from wsserver.counters import Counters
from wsserver.dispatch import HandlerQueue, HandlerTasks
from wsserver.failures import Failures, is_thrown_away
from wsserver.handlers import Handler, finish


class Job:
    """One call that waits or runs.

    `data` is what came in, decoded when its turn comes; `result` what the handler returned already, for it to be
    awaited. `is_cancelled` once the server itself has cut it short.
    """

    __slots__ = ("context", "data", "handler", "is_cancelled", "result")

    def __init__(self, handler: Handler, context: Context, data: msgspec.Raw, result: object) -> None:
        self.handler = handler
        self.context = context
        self.data = data
        self.result = result
        self.is_cancelled = False


class AppCalls:
    """Calls handlers and hooks, those of one connection in order; whatever they raise goes to `failures`."""

    __slots__ = ("_counters", "_failures", "_tasks")

    def __init__(self, tasks: HandlerTasks, failures: Failures, counters: Counters) -> None:
        self._tasks = tasks
        self._failures = failures
        self._counters = counters

    def call(self, handler: Handler, connection: Connection, context: Context, data: msgspec.Raw = NO_DATA) -> None:
        """Call a handler or a hook, now or when its turn comes; data that does not fit is answered then."""
        queue = connection.handlers
        result: object = None
        if not handler.is_async and (queue is None or not queue.is_busy):
            arguments = self._arguments(handler, context, data)
            if arguments is None:
                return
            try:
                result = handler.function(*arguments)
            except BaseException as error:  # an app's code may raise anything
                self._failures.handler(context, error)
            if result is None:
                return
        if queue is None:
            queue = connection.handlers = HandlerQueue(connection.channel, self._tasks, self._perform)
        queue.put(Job(handler, context, data, result))

    def _arguments(self, handler: Handler, context: Context, data: msgspec.Raw) -> tuple[Any, ...] | None:
        try:
            return handler.arguments(context, data)
        except InvalidMessageError as error:
            self._counters.messages_invalid += 1
            context.error(ErrorCode.INVALID_MESSAGE, error.reason)
            return None

    async def _perform(self, job: Job) -> None:
        try:
            if job.result is not None:
                await finish(job.result)
                return
            arguments = self._arguments(job.handler, job.context, job.data)
            job.data = NO_DATA  # kept no longer than until it is decoded
            if arguments is not None:
                await finish(job.handler.function(*arguments))
        except GeneratorExit as error:
            if not is_thrown_away():
                self._failures.handler(job.context, error)
            raise
        except asyncio.CancelledError as error:
            if job.is_cancelled or self._tasks.is_cancelling:
                self._failures.handler_cancelled(job.context)
            else:
                self._failures.handler(job.context, error)
            raise
        except BaseException as error:  # an app's code may raise anything
            self._failures.handler(job.context, error)

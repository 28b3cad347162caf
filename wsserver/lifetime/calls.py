"""Calls an app's code: a plain handler at once, anything that may wait in its connection's turn."""

from __future__ import annotations

import asyncio
import inspect
from time import perf_counter
from typing import Any, Final

import msgspec

from wscore.codes import ErrorCode
from wscore.envelope import NO_DATA, Envelope, InvalidMessageError
from wsserver.connections.handlerqueue import HandlerQueue, HandlerTasks
from wsserver.connections.inbound import MESSAGE_OVERHEAD, InboundLimits, InboundMemory
from wsserver.connections.peerclose import PeerCloseWatcher
from wsserver.connections.rooms import Rooms
from wsserver.connections.state import Connection
from wsserver.lifetime.router import MessageRouter, Route
from wsserver.sdk.app import App
from wsserver.sdk.context import Context
from wsserver.sdk.failures import Failures, is_thrown_away
from wsserver.sdk.growth import GROWS_FROM, Growth
from wsserver.sdk.handlers import Handler, is_awaited
from wsserver.sdk.hub import Hub
from wsserver.telemetry.counters import Histogram
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Drop, Metrics

TIMED: Final = 16  # of so many calls of a plain handler one is timed: to time all of them costs more than to find them


class Job:
    """One call that waits or runs.

    `data` is what came in, decoded when its turn comes; `result` what the handler returned already, for it to be
    awaited. `size` is what it holds, in bytes, and `growth` how much more that becomes once it is decoded.
    `is_cancelled` once the server itself has cut it short. `times` is where its time goes, if that is taken.
    """

    __slots__ = ("context", "data", "growth", "handler", "is_cancelled", "result", "size", "times")

    def __init__(
        self,
        handler: Handler,
        context: Context,
        data: msgspec.Raw,
        size: int,
        result: object,
        times: Histogram | None = None,
    ) -> None:
        self.handler = handler
        self.context = context
        self.data = data
        self.size = size
        self.growth = handler.growth_of(data) if size > GROWS_FROM else 0
        self.result = result
        self.times = times
        self.is_cancelled = False

    @property
    def outlives_client(self) -> bool:
        """Whether it goes on when its client is gone."""
        return self.handler.outlives_client

    def drop(self) -> None:
        """Give up a call that has not begun."""
        if inspect.iscoroutine(self.result):
            self.result.close()


class AppCalls:
    """Calls handlers and hooks, those of one connection in order; whatever they raise goes to `failures`.

    `growth` is what messages take that have been decoded for them.
    """

    __slots__ = (
        "_app",
        "_close_watcher",
        "_dropped",
        "_failures",
        "_hub",
        "_limit",
        "_log",
        "_memory",
        "_rooms",
        "_tasks",
        "_times",
        "growth",
    )

    def __init__(
        self,
        app: App,
        hub: Hub,
        rooms: Rooms,
        tasks: HandlerTasks,
        memory: InboundMemory,
        limits: InboundLimits,
        failures: Failures,
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._app = app
        self._hub = hub
        self._rooms = rooms
        self._tasks = tasks
        self._memory = memory
        self._limit = limits.per_connection
        self.growth = Growth(limits.growth)
        self._close_watcher = PeerCloseWatcher()
        self._failures = failures
        self._dropped = metrics.dropped
        self._times = metrics.handler_time
        self._log = log

    def register(self, router: MessageRouter) -> None:
        """Put the app's handlers into the table."""
        for type, handler in self._app.handlers.items():
            router.register(type, self.route(type, self._app.traced(type, handler)), handler.room)

    def route(self, type: str, handler: Handler) -> Route:
        """Return what calls a handler for each message of its type."""
        needs_room = handler.room is not None
        times = self._times.know(type)
        until_timed = 1

        def route(connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
            nonlocal until_timed
            context: Context = Context(
                connection, self._hub, envelope.type, envelope.id, envelope.room, envelope.traceparent
            )
            if needs_room and envelope.room is None:
                context.error(ErrorCode.INVALID_MESSAGE, f"{envelope.type} is for a room: name it - at `$.room`")
                return
            until_timed -= 1
            timed = None
            if handler.is_async or not until_timed:
                timed, until_timed = times, TIMED
            self._message(handler, connection, context, envelope.data, frame_bytes, timed)

        return route

    def connected(self, connection: Connection) -> None:
        """Call the app's connect hooks."""
        for hook in self._app.connect_hooks:
            self.hook(hook, connection)

    def disconnected(self, connection: Connection, *, by_shutdown: bool) -> None:
        """Give up what the app still does for a client that is gone, and call the disconnect hooks.

        When it is the server that shuts down, the handler that runs may end within the time for that.
        """
        self._leave(connection, cancel=not by_shutdown)
        for hook in self._app.disconnect_hooks:
            self.hook(hook, connection)

    def _message(
        self,
        handler: Handler,
        connection: Connection,
        context: Context,
        data: msgspec.Raw,
        frame_bytes: int,
        times: Histogram | None,
    ) -> None:
        """Call a message's handler, now or when its turn comes; data that does not fit is answered then."""
        result: object = None
        queue = connection.handlers
        if not handler.is_async and (queue is None or not queue.is_busy):
            started_s = 0.0 if times is None else perf_counter()
            result = self._run_now(handler, context, data, frame_bytes)
            if result is None:
                if times is not None:
                    times.observe(perf_counter() - started_s)
                return
        size = frame_bytes + MESSAGE_OVERHEAD
        if queue is None:
            queue = self._queue(connection)
        if result is None and not self._memory.admits(size):
            self._dropped[Drop.NO_ROOM].value += 1
            context.error(ErrorCode.PROCESSING_ERROR, "The server holds all the messages it may; send it again later.")
            self._memory.hold(queue)
            return
        queue.put(Job(handler, context, data, size, result, times))

    def hook(self, hook: Handler, connection: Connection) -> None:
        """Call a hook, now or after what was called for this connection before."""
        context: Context = Context(connection, self._hub)
        result: object = None
        queue = connection.handlers
        if not hook.is_async and (queue is None or not queue.is_busy):
            result = self._run_now(hook, context, NO_DATA, 0)
            if result is None:
                return
        (queue or self._queue(connection)).put(Job(hook, context, NO_DATA, MESSAGE_OVERHEAD, result))

    def _leave(self, connection: Connection, *, cancel: bool) -> None:
        """Give up what waits for a client that is gone, and with `cancel` what runs for it."""
        queue = connection.handlers
        if queue is None:
            return
        dropped = queue.leave(cancel=cancel)
        if dropped:
            self._dropped[Drop.CLIENT_GONE].value += dropped
            self._log.info("messages.abandoned", connection=connection.id, messages=dropped)

    def _run_now(self, handler: Handler, context: Context, data: msgspec.Raw, size: int) -> object:
        """Call a plain function; returns what there is to await, in its turn, or None."""
        try:
            arguments = handler.arguments(context, data, size)
        except InvalidMessageError as error:
            self._invalid(context, error)
            return None
        try:
            result = handler.function(*arguments)
            if result is None or not is_awaited(result):
                return None
        except BaseException as error:  # an app's code may raise anything
            self._failures.handler(context, error)
            return None
        handler.is_async = True  # from now on it is called when its turn comes
        return result

    def _queue(self, connection: Connection) -> HandlerQueue[Job]:
        # One that is closed or closing is read to its end, whatever waits: a hook of its.
        channel = connection.channel if connection.is_open else None
        queue = connection.handlers = HandlerQueue(
            channel, self._tasks, self._memory, self._close_watcher, self._limit, self._perform
        )
        return queue

    def _invalid(self, context: Context, error: InvalidMessageError) -> None:
        context.error(ErrorCode.INVALID_MESSAGE, error.reason)

    async def _perform(self, job: Job) -> None:
        has_grown = False
        try:
            if job.growth:
                await self.growth.enter(job.growth)
                has_grown = True
            await self._run(job)
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
        finally:
            if has_grown:
                self.growth.leave(job.growth)

    async def _run(self, job: Job) -> None:
        started_s = perf_counter()
        try:
            await self._finish(job)
        finally:
            if job.times is not None:
                job.times.observe(perf_counter() - started_s)

    async def _finish(self, job: Job) -> None:
        result: Any = job.result
        if result is None:
            context = job.context
            # Asked at its turn: what came before it may be a join that had to wait.
            if context.room is not None:
                refusal = self._rooms.refusal(context.connection_id, context.room, job.handler.room)
                if refusal is not None:
                    context.error(ErrorCode.FORBIDDEN, refusal)
                    return
            try:
                arguments = job.handler.arguments(job.context, job.data, job.size - MESSAGE_OVERHEAD)
            except InvalidMessageError as error:
                self._invalid(job.context, error)
                return
            job.data = NO_DATA  # kept no longer than until it is decoded
            result = job.handler.function(*arguments)
            del arguments  # the handler's own from here on
            if result is None or not is_awaited(result):
                return
        await result

"""From an envelope to the code that handles it (the seed's MessageRouter and its switch over types)."""

from __future__ import annotations

from functools import partial
from typing import Any

from wscore.codes import ErrorCode
from wscore.envelope import Envelope, InvalidMessageError, MessageProtocol
from wsserver.app import App, Handler
from wsserver.connections import Connection
from wsserver.context import Context
from wsserver.counters import Counters
from wsserver.delivery import Delivery
from wsserver.dispatch import HandlerQueue, HandlerTasks
from wsserver.expiry import ExpiryWatch
from wsserver.hub import Hub
from wsserver.logs import EventLog


class MessageRouter:
    """Answers what belongs to the server itself and hands the rest to the app."""

    __slots__ = ("_app", "_counters", "_delivery", "_expiry", "_hub", "_log", "_protocol", "_tasks")

    def __init__(
        self,
        app: App,
        protocol: MessageProtocol,
        delivery: Delivery,
        hub: Hub,
        expiry: ExpiryWatch,
        tasks: HandlerTasks,
        counters: Counters,
        log: EventLog,
    ) -> None:
        self._app = app
        self._protocol = protocol
        self._delivery = delivery
        self._hub = hub
        self._expiry = expiry
        self._tasks = tasks
        self._counters = counters
        self._log = log

    def route(self, connection: Connection, envelope: Envelope) -> None:
        """Handle one valid envelope; a failure concerns its sender alone."""
        kind = envelope.type
        if kind == "ping":
            self._delivery.send(connection, self._protocol.serialize_pong(connection.session.id, envelope.id))
        elif kind == "pong":
            pass  # its arrival was the sign of life
        elif handler := self._app.handlers.get(kind):
            self._call(handler, connection, envelope)
        elif kind == "auth_refresh":
            self._expiry.refresh(connection, envelope)
        else:
            self._counters.messages_unhandled += 1
            self._log.debug("message.unhandled", type=kind, connection=connection.id)

    def connected(self, connection: Connection) -> None:
        """Call the app's connect hooks."""
        for hook in self._app.connect_hooks:
            self._call(hook, connection, None)

    def disconnected(self, connection: Connection) -> None:
        """Call the app's disconnect hooks."""
        for hook in self._app.disconnect_hooks:
            self._call(hook, connection, None)

    def _call(self, handler: Handler, connection: Connection, envelope: Envelope | None) -> None:
        context = Context(connection, self._hub, envelope)
        try:
            arguments = (context,) if envelope is None else handler.arguments(context, envelope)
        except InvalidMessageError as error:
            self._counters.messages_invalid += 1
            self._hub.error(connection, ErrorCode.INVALID_MESSAGE, error.reason, id=error.request_id)
            return
        queue = connection.handlers
        if not handler.is_async and (queue is None or not queue.is_busy):
            try:
                handler.function(*arguments)
            except Exception as error:  # an app's code may raise anything
                self._failed(context, error)
            return
        if queue is None:
            queue = connection.handlers = HandlerQueue(connection.channel, self._tasks)
        queue.put(partial(self._run, handler, context, arguments))

    async def _run(self, handler: Handler, context: Context, arguments: tuple[Any, ...]) -> None:
        try:
            result = handler.function(*arguments)
            if result is not None:
                await result
        except Exception as error:  # an app's code may raise anything
            self._failed(context, error)

    def _failed(self, context: Context, error: Exception) -> None:
        self._counters.handlers_failed += 1
        self._log.failure("handler.failed", error, type=context.type, connection=context.connection_id)
        context.error(ErrorCode.PROCESSING_ERROR, "The server failed to process the message.")

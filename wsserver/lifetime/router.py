"""From an envelope to the code that handles it (the seed's MessageRouter and its switch over types)."""

from __future__ import annotations

from difflib import get_close_matches

from wscore.codes import ErrorCode
from wscore.envelope import Envelope, MessageProtocol
from wscore.messages import MESSAGES, RESERVED_TYPES
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection
from wsserver.lifetime.calls import AppCalls
from wsserver.lifetime.expiry import ExpiryWatch
from wsserver.sdk.app import App
from wsserver.sdk.context import Context
from wsserver.sdk.hub import Hub
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Counters


class MessageRouter:
    """Answers what belongs to the server itself and hands the rest to the app."""

    __slots__ = ("_app", "_calls", "_counters", "_delivery", "_expiry", "_helps", "_hub", "_log", "_protocol")

    def __init__(
        self,
        app: App,
        protocol: MessageProtocol,
        delivery: Delivery,
        hub: Hub,
        expiry: ExpiryWatch,
        calls: AppCalls,
        counters: Counters,
        log: EventLog,
        *,
        helps: bool,
    ) -> None:
        """Build it; one that `helps` those who write clients answers every unknown type, and names a similar one."""
        self._app = app
        self._protocol = protocol
        self._delivery = delivery
        self._hub = hub
        self._expiry = expiry
        self._calls = calls
        self._counters = counters
        self._log = log
        self._helps = helps

    def route(self, connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
        """Handle one valid envelope, which came in so many bytes; a failure concerns its sender alone."""
        kind = envelope.type
        if kind == "ping":
            self._delivery.send(connection, self._protocol.serialize_pong(connection.session.id, envelope.id))
        elif kind == "pong":
            pass  # its arrival was the sign of life
        elif handler := self._app.handlers.get(kind):
            context = Context(connection, self._hub, kind, envelope.id)
            self._calls.message(handler, connection, context, envelope.data, frame_bytes)
        elif kind == "auth_refresh":
            self._expiry.refresh(connection, envelope)
        else:
            self._unhandled(connection, envelope)

    def _unhandled(self, connection: Connection, envelope: Envelope) -> None:
        kind = envelope.type
        self._counters.messages_unhandled += 1
        self._log.debug("message.unhandled", type=kind, connection=connection.id)
        # Without an `id` as in the seed: its clients may send what this app does not care for, such as audio.
        if envelope.id is None and (kind in MESSAGES or not self._helps):
            return
        problem = f"no handler for {kind}"
        if self._helps and (close := get_close_matches(kind, [*self._app.handlers, *RESERVED_TYPES], 1)):
            problem += f"; did you mean {close[0]}?"
        self._hub.error(connection, ErrorCode.INVALID_MESSAGE, f"{problem} - at `$.type`", id=envelope.id)

    def connected(self, connection: Connection) -> None:
        """Call the app's connect hooks."""
        for hook in self._app.connect_hooks:
            self._calls.hook(hook, connection, Context(connection, self._hub))

    def disconnected(self, connection: Connection, *, by_shutdown: bool) -> None:
        """Give up what the app still does for a client that is gone, and call the disconnect hooks.

        When it is the server that shuts down, the handler that runs may end within the time for that.
        """
        self._calls.leave(connection, cancel=not by_shutdown)
        for hook in self._app.disconnect_hooks:
            self._calls.hook(hook, connection, Context(connection, self._hub))

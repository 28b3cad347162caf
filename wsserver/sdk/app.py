"""The app SDK: an app names its message handlers, and the server calls them (see docs/apps.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec

from wscore.envelope import NO_DATA, TYPE_RULE, MessageProtocol, UnsendableError, is_message_type
from wscore.errors import ConfigError
from wscore.installation import install_line
from wscore.messages import RESERVED_TYPES
from wscore.rooms import PATTERN_RULE, ROOM_RULE, RoomAccess, is_room_pattern
from wscore.traceparent import passed_on
from wsserver.sdk.appsettings import setting_fields
from wsserver.sdk.connecting import ConnectRequest
from wsserver.sdk.context import Context
from wsserver.sdk.datatypes import reader_of
from wsserver.sdk.errors import AppErrorCode, declared_code, merge_codes
from wsserver.sdk.handlers import Handler
from wsserver.sdk.hub import Hub
from wsserver.sdk.lifespans import Lifespan, check_lifespan
from wsserver.sdk.sendable import check_type

T = TypeVar("T")
# What is registered keeps its type. What a handler returns is awaited if it can be, so that may be anything.
F = TypeVar("F", bound=Callable[[Context[Any]], object] | Callable[[Context[Any], Any], object])
C = TypeVar("C", bound=Callable[[ConnectRequest[Any]], object])
H = TypeVar("H", bound=Callable[[Context[Any]], object])
J = TypeVar("J", bound=Callable[[Context[Any]], object] | Callable[[Context[Any], str], object])
L = TypeVar("L", bound=Callable[[Hub], AsyncIterator[object]])


class App:
    """Handlers by message type, plus hooks for start, stop, connect and disconnect.

    An async handler runs in order per connection; a plain function runs at once on the event loop and must
    not block. Without a handler for `message`, nothing fans it out: register `fan_out` to keep that.
    """

    def __init__(self, *, state: Callable[[], Any] | None = None, settings: type | None = None) -> None:
        """Build it; `state` makes what `ctx.state` holds of each connection, such as a dataclass with defaults.

        `settings` is a dataclass or a Struct that names settings of the app's own: `ctx.resource` and `hub.resource`
        find an object of it. Raises ConfigError for another class.
        """
        self.settings: list[type] = [] if settings is None else [settings]
        for kind in self.settings:
            setting_fields(kind)
        self.state = state
        self.traced: Callable[[str, Handler], Handler] = lambda type, handler: handler
        self.protocol: type[MessageProtocol] = MessageProtocol
        self.sent: dict[str, Any] = {}
        self.replies: dict[str, Any] = {}
        self.errors: dict[str, AppErrorCode] = {}
        self.is_included = False
        self.handlers: dict[str, Handler] = {}
        self.connecting_hooks: list[Handler] = []
        self.connect_hooks: list[Handler] = []
        self.disconnect_hooks: list[Handler] = []
        self.join_hooks: dict[str, Handler] = {}
        self.lifespans: list[Lifespan] = []

    def trace(self, provider: Any = None) -> None:
        """Have a span of OpenTelemetry for each call of a handler, from this TracerProvider or that of the process.

        It begins a trace of its own, with a link to the sender's if the message names one in `traceparent`; what the
        app sends within a span names that. Raises ConfigError without the package opentelemetry-api.
        """
        try:
            from wsserver.sdk.tracing import HandlerTracing, TracedProtocol  # an extra brings what it needs
        except ImportError as error:
            raise ConfigError("App.trace", f"{error.name} is not installed", install_line("otel")) from None
        self.traced = HandlerTracing(provider).traced
        self.protocol = TracedProtocol

    def on(
        self, type: str, *, room: RoomAccess | None = None, outlives_client: bool = False, replies: Any = None
    ) -> Callable[[F], F]:
        """Register a handler for a message type; raises ConfigError for a reserved, taken or impossible one.

        With `room` it takes messages for a room alone: PUBLISH from those who may publish there, LISTEN from all its
        members.

        `replies` is the type of data that its `ctx.reply` sends, see `sends`.

        When a client goes, what it sent and nobody has begun to handle is dropped, and the handler that runs is
        cancelled; one that `outlives_client` is called and runs to its end all the same.
        """
        self._check_type(type)

        def register(function: F) -> F:
            self.handlers[type] = self._handler(function, outlives_client=outlives_client, room=room)
            if replies is not None:
                reader_of(replies, type)
                self.replies[type] = replies
            return function

        return register

    def connecting(self, function: C) -> C:
        """Register `(request)`, which sees each handshake before `session_created` and may refuse it.

        There may be several, called in the order of registration; they have the time-out of a handshake altogether.
        """
        self.connecting_hooks.append(self._handler(function, is_hook=True))
        return function

    def on_connect(self, function: H) -> H:
        """Register `(ctx)` to be called after `session_created` was sent."""
        self.connect_hooks.append(self._handler(function, is_hook=True))
        return function

    def on_disconnect(self, function: H) -> H:
        """Register `(ctx)` to be called when a connection is gone; sending to it returns False."""
        self.disconnect_hooks.append(self._handler(function, is_hook=True))
        return function

    def on_join(self, pattern: str) -> Callable[[J], J]:
        """Register `(ctx, room)`, which decides alone who may join the rooms that match, by its answer.

        True lets the client in, False does not, and `RoomAccess.LISTEN` lets it in without letting it publish. Of
        several patterns the narrowest decides. Asked again after `auth_refresh`. Raises ConfigError.
        """
        if not is_room_pattern(pattern):
            raise ConfigError(repr(pattern), "is no pattern for rooms", f"{ROOM_RULE}; {PATTERN_RULE}")
        self._check_rooms(pattern)

        def register(function: J) -> J:
            self.join_hooks[pattern] = self._handler(function, takes_room=True)
            return function

        return register

    def lifespan(self, function: L) -> L:
        """Register an async generator `(hub)`: what precedes its `yield` runs before the server listens.

        There may be several: they start in the order of registration and end in reverse. What one yields is found by
        its type, with `hub.resource`. Raises ConfigError for anything else.
        """
        self._check_open()
        check_lifespan(function)
        self.lifespans.append(function)
        return function

    def error(self, code: str, meaning: str = "", *, retryable: bool = False) -> AppErrorCode:
        """Declare an error code of the app's own, for `ctx.error` and to be raised; raises ConfigError.

        `meaning` is what a client reads unless the error says more, `retryable` whether the same message may be sent
        again later.
        """
        self._check_open()
        declared = declared_code(code, meaning, retryable=retryable)
        merge_codes(self.errors, {code: declared})
        return declared

    def sends(self, type: str, data_type: Any) -> None:
        """Declare the data of a message that the app sends; raises ConfigError for a type that cannot be sent.

        The dev profile holds what is sent against it, and UnsendableError names the field; prod looks at nothing.
        """
        self._check_open()
        try:
            check_type(type)
        except UnsendableError as error:
            raise ConfigError(error.what, error.problem) from None
        if type in self.sent:
            raise ConfigError(type, "the data of this message is declared already")
        reader_of(data_type, type)
        self.sent[type] = data_type

    def include(self, other: App, *, prefix: str = "") -> None:
        """Take over all that another app has: handlers, their types behind `prefix`, hooks, lifespans and errors.

        Nothing can be registered in the other app afterwards. Raises ConfigError where the two do not fit together.
        """
        self._check_open()
        if other is self:
            raise ConfigError("app.include", "an app cannot include itself")
        if other.state is not None and self.state not in (None, other.state):
            raise ConfigError("app.include", "the two apps have states of two types", "let one class serve both")
        for type, handler in other.handlers.items():
            self._check_type(prefix + type)
            self.handlers[prefix + type] = handler
        for pattern, hook in other.join_hooks.items():
            if self.join_hooks.get(pattern) is not hook:  # an app may be included twice, by two prefixes
                self._check_rooms(pattern)
                self.join_hooks[pattern] = hook
        merge_codes(self.errors, other.errors)
        for type, kind in other.sent.items():
            if self.sent.setdefault(type, kind) != kind:
                raise ConfigError(type, "the two apps declare different data for this message")
        self.replies |= {prefix + type: kind for type, kind in other.replies.items()}
        self.state = self.state or other.state
        _add(self.connecting_hooks, other.connecting_hooks)
        _add(self.connect_hooks, other.connect_hooks)
        _add(self.disconnect_hooks, other.disconnect_hooks)
        _add(self.settings, other.settings)
        _add(self.lifespans, other.lifespans)
        other.is_included = True

    def new_state(self) -> Any:
        """Return what `ctx.state` holds at first."""
        return SimpleNamespace() if self.state is None else self.state()

    def _handler(self, function: Callable[..., object], **options: Any) -> Handler:
        self._check_open()
        return Handler(function, **options)

    def _check_open(self) -> None:
        if self.is_included:
            raise ConfigError("app.include", "this app is included in another already", "register everything before")

    def _check_rooms(self, pattern: str) -> None:
        if pattern in self.join_hooks:
            raise ConfigError(pattern, "these rooms have an on_join hook already")

    def _check_type(self, type: str) -> None:
        if not is_message_type(type):
            raise ConfigError(repr(type), "is no message type", TYPE_RULE)
        if type in RESERVED_TYPES:
            raise ConfigError(type, "this message type belongs to the server")
        if type in self.handlers:
            raise ConfigError(type, "this message type has a handler already")


def _add(items: list[T], others: list[T]) -> None:
    items += [item for item in others if item not in items]  # an app may be included twice, by two prefixes


def fan_out(ctx: Context, data: msgspec.Raw) -> None:
    """Send a client's `message` to everybody in its session or the room that it names, its sender included.

    Its data goes byte for byte.
    """
    hub, connection = ctx.hub, ctx._connection  # past the properties: nothing is called more often
    traceparent = ctx._traceparent
    reply_to = (connection.id, ctx.request_id) if hub._broker.is_shared else None
    hub.forward(
        "message",
        data,
        session=connection.session.name,
        room=ctx.room,
        user_id=connection.principal.user_id,
        reply_to=reply_to,
        traceparent=msgspec.UNSET if traceparent is NO_DATA else passed_on(traceparent),
    )


def default_app() -> App:
    """Return the app that runs when none is named: it fans out `message`."""
    app = App()
    app.on("message")(fan_out)
    return app

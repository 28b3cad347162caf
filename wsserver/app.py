"""The app SDK: an app names its message handlers, and the server calls them (see docs/apps.md)."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar, get_type_hints

import msgspec
import msgspec.inspect

from wscore.envelope import Envelope, decode_data
from wscore.errors import ConfigError
from wscore.messages import RESERVED_TYPES
from wsserver.context import Context
from wsserver.hub import Hub

HandlerFunction = Callable[..., Awaitable[None] | None]
Lifespan = Callable[[Hub], AsyncIterator[None]]
F = TypeVar("F", bound=Callable[..., Any])


class Handler:
    """One function of an app with the type of data it takes, read off its signature."""

    __slots__ = ("_data_type", "_takes_data", "function", "is_async")

    def __init__(self, function: HandlerFunction) -> None:
        """Read the signature `(ctx)` or `(ctx, data)`; raises ConfigError for any other."""
        parameters = list(inspect.signature(function).parameters.values())
        positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        if len(positional) not in (1, 2) or len(positional) != len(parameters):
            raise ConfigError(_name(function), "a handler takes (ctx) or (ctx, data)")
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self._takes_data = len(positional) == 2
        self._data_type: Any = Any
        if self._takes_data:
            self._data_type = _hints(function).get(positional[1].name, Any)
            _check_data_type(function, self._data_type)

    def arguments(self, context: Context, envelope: Envelope) -> tuple[Any, ...]:
        """Return what to call the function with; raises InvalidMessageError naming the field that does not fit."""
        if not self._takes_data:
            return (context,)
        return (context, decode_data(envelope.data, self._data_type, request_id=envelope.id))


def _hints(function: HandlerFunction) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        raise ConfigError(_name(function), f"its annotations cannot be resolved: {error}") from None


def _check_data_type(function: HandlerFunction, data_type: Any) -> None:
    try:
        info = msgspec.inspect.type_info(data_type)
    except TypeError as error:
        raise ConfigError(_name(function), f"its data type cannot be read from JSON: {error}") from None
    if isinstance(info, msgspec.inspect.CustomType):
        mend = "use a msgspec.Struct, a dataclass, dict or another type that JSON has"
        raise ConfigError(_name(function), f"{data_type!r} cannot be read from JSON", mend)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


class App:
    """Handlers by message type, plus hooks for start, stop, connect and disconnect.

    An async handler runs in order per connection; a plain function runs at once on the event loop and must
    not block. Without a handler for `message`, nothing fans it out: register `fan_out` to keep that.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.connect_hooks: list[Handler] = []
        self.disconnect_hooks: list[Handler] = []
        self._lifespan: Lifespan | None = None

    def on(self, type: str) -> Callable[[F], F]:
        """Register a handler for a message type; raises ConfigError for a reserved or taken one."""
        if type in RESERVED_TYPES:
            raise ConfigError(type, "this message type belongs to the server")
        if type in self.handlers:
            raise ConfigError(type, "this message type has a handler already")

        def register(function: F) -> F:
            self.handlers[type] = Handler(function)
            return function

        return register

    def on_connect(self, function: F) -> F:
        """Register `(ctx)` to be called after `session_created` was sent."""
        self.connect_hooks.append(Handler(function))
        return function

    def on_disconnect(self, function: F) -> F:
        """Register `(ctx)` to be called when a connection is gone; sending to it returns False."""
        self.disconnect_hooks.append(Handler(function))
        return function

    def lifespan(self, function: Lifespan) -> Lifespan:
        """Register an async generator `(hub)`: what precedes its `yield` runs before the server listens."""
        if not inspect.isasyncgenfunction(function):
            raise ConfigError(_name(function), "a lifespan is an async function with one yield")
        self._lifespan = function
        return function

    def running(self, hub: Hub) -> AbstractAsyncContextManager[None]:
        """Return the context in which the server serves."""
        return nullcontext() if self._lifespan is None else asynccontextmanager(self._lifespan)(hub)


def fan_out(ctx: Context, data: msgspec.Raw) -> None:
    """Send a client's `message` to everybody in its session, the sender included, its data byte for byte."""
    ctx.broadcast("message", data)


def default_app() -> App:
    """Return the app that runs when none is named: it fans out `message`."""
    app = App()
    app.on("message")(fan_out)
    return app

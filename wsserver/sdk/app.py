"""The app SDK: an app names its message handlers, and the server calls them (see docs/apps.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec

from wscore.envelope import TYPE_RULE, is_message_type
from wscore.errors import ConfigError
from wscore.messages import RESERVED_TYPES
from wsserver.sdk.context import Context
from wsserver.sdk.handlers import Handler
from wsserver.sdk.hub import Hub
from wsserver.sdk.lifespans import Lifespan, check_lifespan

# What is registered keeps its type. What a handler returns is awaited if it can be, so that may be anything.
F = TypeVar("F", bound=Callable[[Context], object] | Callable[[Context, Any], object])
H = TypeVar("H", bound=Callable[[Context], object])
L = TypeVar("L", bound=Callable[[Hub], AsyncIterator[None]])


class App:
    """Handlers by message type, plus hooks for start, stop, connect and disconnect.

    An async handler runs in order per connection; a plain function runs at once on the event loop and must
    not block. Without a handler for `message`, nothing fans it out: register `fan_out` to keep that.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.connect_hooks: list[Handler] = []
        self.disconnect_hooks: list[Handler] = []
        self.lifespans: list[Lifespan] = []

    def on(self, type: str, *, outlives_client: bool = False) -> Callable[[F], F]:
        """Register a handler for a message type; raises ConfigError for a reserved, taken or impossible one.

        When a client goes, what it sent and nobody has begun to handle is dropped, and the handler that runs is
        cancelled; one that `outlives_client` is called and runs to its end all the same.
        """
        if not is_message_type(type):
            raise ConfigError(repr(type), "is no message type", TYPE_RULE)
        if type in RESERVED_TYPES:
            raise ConfigError(type, "this message type belongs to the server")
        if type in self.handlers:
            raise ConfigError(type, "this message type has a handler already")

        def register(function: F) -> F:
            self.handlers[type] = Handler(function, outlives_client=outlives_client)
            return function

        return register

    def on_connect(self, function: H) -> H:
        """Register `(ctx)` to be called after `session_created` was sent."""
        self.connect_hooks.append(Handler(function, is_hook=True))
        return function

    def on_disconnect(self, function: H) -> H:
        """Register `(ctx)` to be called when a connection is gone; sending to it returns False."""
        self.disconnect_hooks.append(Handler(function, is_hook=True))
        return function

    def lifespan(self, function: L) -> L:
        """Register an async generator `(hub)`: what precedes its `yield` runs before the server listens.

        There may be several: they start in the order of registration and end in reverse. Raises ConfigError for
        anything else.
        """
        check_lifespan(function)
        self.lifespans.append(function)
        return function


def fan_out(ctx: Context, data: msgspec.Raw) -> None:
    """Send a client's `message` to everybody in its session, the sender included, its data byte for byte."""
    ctx.hub.forward("message", data, session=ctx.session_id, user_id=ctx.principal.user_id)


def default_app() -> App:
    """Return the app that runs when none is named: it fans out `message`."""
    app = App()
    app.on("message")(fan_out)
    return app

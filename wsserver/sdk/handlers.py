"""A function of an app as the server calls it: what its signature takes, and what becomes of what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, get_type_hints

import msgspec

from wscore.envelope import InvalidMessageError, decode_data
from wscore.errors import ConfigError
from wscore.fields import FieldNames
from wscore.jsonvalues import MAX_DIGITS, MAX_LARGE_EXPONENTS, has_long_number, has_many_large_exponents
from wscore.rooms import RoomAccess
from wsserver.sdk.context import Context
from wsserver.sdk.datatypes import holds_raw, reader_of
from wsserver.sdk.growth import growth_of


class Handler:
    """One function of an app with the type of data it takes, read off its signature."""

    __slots__ = (
        "_data_type",
        "_fields",
        "_passes_raw_on",
        "_read",
        "_takes_data",
        "function",
        "is_async",
        "name",
        "outlives_client",
        "room",
    )

    def __init__(
        self,
        function: Callable[..., object],
        *,
        is_hook: bool = False,
        takes_room: bool = False,
        outlives_client: bool = False,
        room: RoomAccess | None = None,
    ) -> None:
        """Read the signature; raises ConfigError for what cannot work.

        It is `(ctx)` or for a message `(ctx, data)`, and for a hook that `takes_room` may be `(ctx, room)`.
        """
        self.name = name_of(function)
        if isinstance(function, classmethod):
            raise ConfigError(self.name, "is a classmethod of no class yet", "register it once the class is there")
        if not callable(function):
            raise ConfigError(self.name, "is no function")
        if _is_generator(function):
            raise ConfigError(self.name, "has a yield, so calling it runs nothing", "send with ctx.reply instead")
        parameters = list(inspect.signature(function).parameters.values())
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        positional = [parameter for parameter in parameters if parameter.kind in by_position]
        others = [parameter for parameter in parameters if parameter not in positional]
        if not 1 <= len(positional) <= (1 if is_hook else 2) or any(other.default is other.empty for other in others):
            mend = "let its decorator use functools.wraps" if others else ""
            takes = "a hook takes (ctx)" if is_hook else "a handler takes (ctx) or (ctx, data)"
            takes = "a hook takes (ctx) or (ctx, room)" if takes_room else takes
            raise ConfigError(self.name, takes, mend)
        if room is RoomAccess.NONE:
            raise ConfigError(self.name, "nobody could send what it handles", "use RoomAccess.LISTEN or PUBLISH")
        self.function = function
        self.room = room  # what the sender may do in the room that each message has to name; None: it may name none
        # Hooks always: what a connect hook has set up a disconnect hook takes down.
        self.outlives_client = outlives_client or is_hook
        # Whatever else is awaitable is found out when it is called: a decorator may hide that a handler is async.
        self.is_async = inspect.iscoroutinefunction(function)
        self._takes_data = len(positional) == 2
        self._data_type: Any = Any
        if self._takes_data:
            self._data_type = self._hints().get(positional[1].name, Any)
        self._read = reader_of(self._data_type, self.name)
        self._fields = FieldNames.of(self._data_type)
        # A raw slice within other data is passed on unread: the whole of it is checked first.
        self._passes_raw_on = self._data_type is not msgspec.Raw and holds_raw(self._data_type)

    def arguments(self, context: Context, data: msgspec.Raw, size: int) -> tuple[Any, ...]:
        """Return what to call the function with; `size` is at least what the data has, in bytes.

        Raises InvalidMessageError naming the field that is wrong.
        """
        if not self._takes_data:
            return (context,)
        if size > MAX_DIGITS:
            _check_numbers(bytes(data), context.request_id, is_decoded=self._data_type is not msgspec.Raw)
        if self._passes_raw_on:
            decode_data(data, Any, request_id=context.request_id)
        if self._fields is not None and (problem := self._fields.misspelt(data)) is not None:
            raise InvalidMessageError(f"{problem} - at `$.data`", context.request_id)
        return (context, self._read(data, context.request_id))

    @property
    def takes_data(self) -> bool:
        """Whether it takes a second argument."""
        return self._takes_data

    @property
    def data_type(self) -> Any:
        """The type of that argument; Any where its annotation does not say."""
        return self._data_type

    def growth_of(self, data: msgspec.Raw) -> int:
        """Return about how many bytes more the data takes once it is decoded for this handler, if they are many."""
        return growth_of(bytes(data)) if self._takes_data and self._data_type is not msgspec.Raw else 0

    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(_annotated(self.function))
        except NameError as error:
            mend = "define what they name at the top of the module"
            raise ConfigError(self.name, f"its annotations cannot be resolved: {error}", mend) from None


def is_awaited(result: object) -> bool:
    """Tell whether what a handler returned is to be awaited; raises TypeError for a generator: nobody would run it."""
    if inspect.isawaitable(result):
        return True
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        raise TypeError("the handler returned a generator, so nothing of it has run")
    return False


def name_of(function: object) -> str:
    """Return how to name a function, or what is called like one, in an error or a log."""
    named = underlying(function)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', type(named).__qualname__)}"


def underlying(function: Any) -> Any:
    """Return the function that is called in the end: of a partial, or of an object with `__call__`."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function) or isinstance(function, classmethod):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004


def _annotated(function: Any) -> Any:
    """Return the function whose signature counts: the one below all decorators, as `inspect.signature` finds it."""
    while True:
        below = underlying(inspect.unwrap(function))
        if below is function:
            return function
        function = below


def _is_generator(function: Any) -> bool:
    function = underlying(function)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _check_numbers(text: bytes, request_id: str | None, *, is_decoded: bool) -> None:
    if has_long_number(text):
        raise InvalidMessageError(f"Number of more than {MAX_DIGITS} digits - at `$.data`", request_id)
    if is_decoded and has_many_large_exponents(text):
        problem = f"More than {MAX_LARGE_EXPONENTS} numbers with three digits in the exponent"
        raise InvalidMessageError(f"{problem} - at `$.data`", request_id)

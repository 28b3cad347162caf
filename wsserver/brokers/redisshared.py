"""Values that all processes agree on, kept in Redis by whoever came first: a process that has one writes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wsserver.brokers.redisbackplane import RedisBackplane


class _Value:
    """A value, and what takes another one in its place."""

    __slots__ = ("agreed", "take", "value")

    def __init__(self, value: bytes, take: Callable[[bytes], None]) -> None:
        self.value = value
        self.take = take
        self.agreed = asyncio.Event()


class RedisShared:
    """Keeps a process and the store at the same values. Nothing hangs on who is asked first, or on what Redis keeps.

    Where the store has lost a value, whoever looks first writes its own: it is the one that all have, unless a process
    has started meanwhile, and been quicker. Then all take that one.
    """

    def __init__(self, backplane: RedisBackplane, prefix: str) -> None:
        self._backplane = backplane
        self._prefix = prefix
        self._values: dict[str, _Value] = {}

    async def agree(self, name: str, value: bytes, take: Callable[[bytes], None]) -> None:
        """Agree on a value: `take` gets it before this returns, and another one should it ever change."""
        shared = self._values[f"{self._prefix}{name}"] = _Value(value, take)
        self.look()
        await shared.agreed.wait()

    def look(self) -> None:
        """Hold all values against the store; called every now and then, and when Redis is back."""
        for key, shared in self._values.items():
            self._look(key, shared)

    def _look(self, key: str, shared: _Value) -> None:
        def read(reply: Any) -> None:
            if isinstance(reply, bytes):
                _agree(shared, reply)
            elif reply is None:
                self._backplane.ask(_ignore, "SET", key, shared.value, "NX")
                self._backplane.ask(read_again, "GET", key)

        def read_again(reply: Any) -> None:
            if isinstance(reply, bytes):  # or a full Redis took nothing, and is asked again later
                _agree(shared, reply)

        self._backplane.ask(read, "GET", key)


def _agree(shared: _Value, value: bytes) -> None:
    if not shared.agreed.is_set() or value != shared.value:
        shared.value = value
        shared.take(value)
        shared.agreed.set()


def _ignore(_reply: Any) -> None:
    """The value is read next."""

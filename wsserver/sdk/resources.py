"""What lifespans yield, such as a database, for handlers to find by its type."""

from __future__ import annotations

from typing import TypeVar, cast

from wscore.errors import ConfigError

T = TypeVar("T")


class Resources:
    """The things that an app works with, one of each type."""

    __slots__ = ("_by_type",)

    def __init__(self) -> None:
        self._by_type: dict[type, object] = {}

    def add(self, resource: object) -> None:
        """Let it be found from now on; raises ConfigError if there is another one of its type."""
        kind = type(resource)
        if kind in self._by_type:
            problem = f"two lifespans yield a {kind.__name__}, so nobody could tell them apart"
            raise ConfigError("APP", problem, "let each yield an object of a class of its own")
        self._by_type[kind] = resource

    def remove(self, resource: object) -> None:
        """Let it be found no more; what was never added is left alone."""
        if self._by_type.get(type(resource), self) is resource:
            del self._by_type[type(resource)]

    def find(self, kind: type[T]) -> T:
        """Return the one of a type, or else of a subclass of it; raises LookupError unless there is just one."""
        found = self._by_type.get(kind)
        if found is not None:
            return cast(T, found)
        fitting = [resource for resource in self._by_type.values() if isinstance(resource, kind)]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(sorted(known.__name__ for known in self._by_type)) or "nothing"
        what = f"{len(fitting)} resources that are a {kind.__name__}" if fitting else f"no {kind.__name__}"
        raise LookupError(f"there is {what} now: lifespans have yielded {names}")

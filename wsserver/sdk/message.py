"""A message with its data decoded: what a request to a client returns, and what tests receive."""

from __future__ import annotations

import builtins
from typing import Any, TypeVar

from wscore.envelope import Envelope, decode_data

T = TypeVar("T")


class Message:
    """One message. `data` is plain Python: a dict, a list, a text, a number, True, False, or None without any.

    `envelope` is the whole of it, its data still JSON.
    """

    __slots__ = ("_data", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self._data: Any = self

    def __repr__(self) -> str:
        return f"Message({self.type!r}, {self.data!r})"

    @property
    def type(self) -> str:
        """The message's type."""
        return self.envelope.type

    @property
    def id(self) -> str | None:
        """The id that it carries, if any."""
        return self.envelope.id

    @property
    def user_id(self) -> str | None:
        """Who sent it, where the server says so."""
        return self.envelope.user_id

    @property
    def session_id(self) -> str | None:
        """The session that it names, if any."""
        return self.envelope.session_id

    @property
    def data(self) -> Any:
        """Its data, decoded."""
        if self._data is self:
            self._data = decode_data(self.envelope.data, Any)
        return self._data

    def data_as(self, kind: builtins.type[T]) -> T:
        """Return the data as a msgspec Struct, a dataclass or another type; raises InvalidMessageError."""
        return decode_data(self.envelope.data, kind)

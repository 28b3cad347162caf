"""How much of what clients sent may wait for an app's handlers, in bytes: each connection's and in all (section 6).

A message counts from its arrival until its handler has ended. Who has too much waiting is read no further, so that TCP
holds it back; nothing is lost by that. When all together have too much, those are held back that have anything waiting,
and let go in turn as room is made: so one greedy client does not keep the others out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from wscore.errors import ConfigError
from wscore.units import format_size
from wsserver.outbound.memory import Held
from wsserver.telemetry.logs import EventLog

# What a message costs besides its bytes while it waits: the objects that hold it.
MESSAGE_OVERHEAD: Final = 512
_DEFAULT_IN_ALL: Final = 64 << 20
_DEFAULT_PER_CONNECTION: Final = 4 << 20
_RELEASE_S: Final = 0.01  # between two looks at who may be read again: time to see what the first ones send
_LOG_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class InboundLimits:
    """How many bytes of messages may wait for handlers or be in their hands; raises ConfigError."""

    per_connection: int
    in_all: int

    def __post_init__(self) -> None:
        if not 0 < self.per_connection <= self.in_all:
            problem = f"must be more than nothing and at most --max-inbound-memory, {format_size(self.in_all)}"
            raise ConfigError("--max-inbound-per-connection", problem)

    @classmethod
    def chosen(
        cls, max_message_bytes: int, *, per_connection: int | None = None, in_all: int | None = None
    ) -> InboundLimits:
        """Fill in what nobody chose: 64 MiB in all, or four messages, and 4 MiB a connection, or a quarter of all."""
        if in_all is None:
            in_all = max(_DEFAULT_IN_ALL, 4 * (max_message_bytes + MESSAGE_OVERHEAD), per_connection or 0)
        return cls(min(_DEFAULT_PER_CONNECTION, in_all // 4) if per_connection is None else per_connection, in_all)

    def check(self, max_message_bytes: int) -> None:
        """Raise ConfigError unless there is room for messages of that size."""
        if self.waiting < 2 * (max_message_bytes + MESSAGE_OVERHEAD):
            size = format_size(max_message_bytes)
            raise ConfigError(
                "--max-inbound-memory",
                f"{format_size(self.in_all)} are too little for messages of {size}",
                f"allow three times {size}, or lower --max-message-size",
            )

    @property
    def growth(self) -> int:
        """The part of all that is for what messages take more once they are decoded."""
        return self.in_all // 4

    @property
    def waiting(self) -> int:
        """The part of all that is for messages as they came."""
        return self.in_all - self.growth


class Reader(Protocol):
    """Something that can be held back: the queue of one connection."""

    def hold_back(self) -> None:
        """Stop reading from the peer until `let_go`."""

    def let_go(self) -> None:
        """Read again, if nothing else speaks against it."""


class InboundMemory(Held):
    """The bytes of all connections; `call_later` takes seconds, `now_s` is the monotonic clock.

    Below the limit lies a reserve that only those use who have nothing waiting: what they send has arrived already.
    """

    __slots__ = (
        "_call_later",
        "_held",
        "_holders",
        "_limit",
        "_log",
        "_logged_at_s",
        "_max_message_bytes",
        "_now_s",
        "_threshold",
        "_timer",
        "peak",
        "used",
    )

    def __init__(
        self,
        limits: InboundLimits,
        max_message_bytes: int,
        *,
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        now_s: Callable[[], float],
        log: EventLog,
    ) -> None:
        self._limit = limits.waiting
        self._max_message_bytes = max_message_bytes + MESSAGE_OVERHEAD
        self._threshold = self._limit - max(self._limit // 4, self._max_message_bytes)
        self._call_later = call_later
        self._now_s = now_s
        self._log = log
        self._logged_at_s = now_s() - _LOG_S
        self._holders: dict[Reader, None] = {}
        self._held: dict[Reader, None] = {}  # in the order in which they were held back
        self._timer: Any = None
        self.used = self.peak = 0

    @property
    def is_full(self) -> bool:
        """Whether those who have something waiting are held back."""
        return self.used >= self._threshold

    def admits(self, size: int) -> bool:
        """Tell whether there is room for so many bytes, the reserve included."""
        return self.used + size <= self._limit

    def take(self, reader: Reader, size: int) -> None:
        """Count bytes in that wait for `reader`."""
        self._holders[reader] = None
        self.rise(size)
        if self.used >= self._threshold:
            self._hold_back(reader, was_full=self.used - size >= self._threshold)

    def give(self, reader: Reader, size: int, *, has_more: bool) -> None:
        """Count bytes out; `has_more` unless nothing waits for `reader` any longer."""
        self.used -= size
        if not has_more:
            self._holders.pop(reader, None)
        if self._held and self._timer is None and not self.is_full:
            self._release()

    def hold(self, reader: Reader) -> None:
        """Hold a connection back until there is room, behind those that are held back already."""
        if reader not in self._held:
            self._held[reader] = None
            reader.hold_back()

    def forget(self, reader: Reader) -> None:
        """Hold a connection back no more: it is gone. What waits for it still counts."""
        self._held.pop(reader, None)

    def _hold_back(self, newest: Reader, *, was_full: bool) -> None:
        if was_full:
            self.hold(newest)
            return
        for holder in self._holders:
            self.hold(holder)
        if self._now_s() - self._logged_at_s >= _LOG_S:
            self._logged_at_s = self._now_s()
            self._log.warning("inbound.full", used=self.used, held_back=len(self._held))

    def _release(self) -> None:
        """Let go as many as the room is for, if each sends the largest message; look again soon for the rest."""
        self._timer = None
        room = self._threshold - self.used
        while self._held and room > 0:
            reader = next(iter(self._held))
            del self._held[reader]
            reader.let_go()
            room -= self._max_message_bytes
        if self._held and not self.is_full:
            self._timer = self._call_later(_RELEASE_S, self._release)

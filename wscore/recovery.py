"""Recovery of what a client missed: where a group stands, what it keeps, and who may have it replayed (section 4).

A group counts its recoverable events: each raises `seq` by one within an `epoch`, which is another one once history is
lost. The last events are kept within a window, and whoever names a position inside it gets everything since then.
Anybody else is told `recovered: false`: a replay is whole, or there is none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

from wscore.envelope import MAX_SAFE_INTEGER
from wscore.errors import ConfigError
from wscore.units import format_size

DEFAULT_MESSAGES: Final = 100
DEFAULT_SIZE: Final = 512 << 10
DEFAULT_AGE_S: Final = 120.0
DEFAULT_MEMORY: Final = 64 << 20
MAX_EVENT_BYTES: Final = 128 << 10
EVENT_BYTES: Final = 80  # what a kept event takes besides its text: the object, and its places in the lists
LEFT_OUT_BYTES: Final = 160  # who was left out of one
LISTS_BYTES: Final = 144  # the two lists, once there is an event

# So much may one connection have replayed in that time: it joins all of its rooms at once when it comes back.
REPLAY_BUDGET_BYTES: Final = 8 << 20
REPLAY_BUDGET_S: Final = 10.0

_EPOCH: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SEQ: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class Position(NamedTuple):
    """Where a group stands, or how far a client has read: `seq` counts within `epoch`."""

    epoch: str
    seq: int


NOWHERE: Final = Position("", 0)  # stands for a malformed one: no group ever is there


def read_position(epoch: object, seq: object) -> Position:
    """Return the position that a client sent, in a query or as JSON; NOWHERE for a malformed one."""
    if not isinstance(epoch, str) or not _EPOCH.fullmatch(epoch):
        return NOWHERE
    if isinstance(seq, str) and _SEQ.fullmatch(seq):
        seq = int(seq)
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= MAX_SAFE_INTEGER:
        return NOWHERE
    return Position(epoch, seq)


@dataclass(frozen=True, slots=True)
class RecoveryLimits:
    """The window of each group, and how much all of them may keep; a 0 in it turns recovery off.

    At most `messages` events of `size` bytes in all and `age_s` seconds; `memory` bytes over all groups. Raises
    ConfigError for what cannot be.
    """

    messages: int = DEFAULT_MESSAGES
    size: int = DEFAULT_SIZE
    age_s: float = DEFAULT_AGE_S
    memory: int = DEFAULT_MEMORY

    def __post_init__(self) -> None:
        if self.is_on and self.memory < self.size:
            problem = f"{format_size(self.memory)} are less than one group may keep, {format_size(self.size)}"
            raise ConfigError("--recovery-memory", problem, "allow more, or lower --recovery-size")

    @classmethod
    def chosen(
        cls,
        outbound: int,
        *,
        messages: int = DEFAULT_MESSAGES,
        size: int | None = None,
        age_s: float = DEFAULT_AGE_S,
        memory: int = DEFAULT_MEMORY,
    ) -> RecoveryLimits:
        """Fill in the size that nobody chose, where so many bytes may wait for one client to read."""
        return cls(messages, min(DEFAULT_SIZE, outbound // 2, memory) if size is None else size, age_s, memory)

    def check(self, outbound: int) -> None:
        """Raise ConfigError unless a client for which so many bytes may wait can be sent a whole window."""
        if self.is_on and self.size > outbound // 2:
            limit = format_size(outbound)
            problem = f"{format_size(self.size)} are more than half of what may wait for one client, {limit}"
            raise ConfigError("--recovery-size", problem, "lower it, or raise --max-outbound-per-connection")

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return bool(self.messages and self.size and self.age_s and self.memory)


class GroupHistory:
    """Where a group stands, and its last events: those behind `floor` up to `seq`, without a gap.

    `size` is what the events take in bytes with all that holds them, `used_s` when they were last of use. Whoever
    `is_held` by members keeps its position, whatever it has to let go of. Times are monotonic seconds.
    """

    __slots__ = ("_events", "_left_out", "_stamps", "epoch", "is_held", "kind", "name", "seq", "size", "used_s")

    def __init__(self, kind: str, name: str, epoch: str) -> None:
        self.kind = kind
        self.name = name
        self.epoch = epoch
        self.seq = 0
        self.size = 0
        self.used_s = -1.0
        self.is_held = False
        # Lists, and only once there is something to keep: for a few events a deque takes six times as much.
        self._events: list[bytes] | None = None
        self._stamps: list[float] | None = None
        self._left_out: dict[int, str] | None = None

    @property
    def position(self) -> Position:
        """Where the group stands."""
        return Position(self.epoch, self.seq)

    @property
    def floor(self) -> int:
        """The lowest position from which all can be replayed."""
        return self.seq - (0 if self._events is None else len(self._events))

    def append(self, event: bytes, now_s: float, limits: RecoveryLimits, left_out: str | None = None) -> None:
        """Count an event, which has its seq in it already, and keep it; one that is too large is counted only.

        `left_out` names a client that does not get it.
        """
        self.seq += 1
        size = len(event) + EVENT_BYTES
        if len(event) > MAX_EVENT_BYTES or size > limits.size - LISTS_BYTES:
            self.clear()  # no replay can cross it
            return
        events, stamps = self._events, self._stamps
        if events is None or stamps is None:
            self._events, self._stamps = [event], [now_s]
            self.size = LISTS_BYTES + size
        else:
            events.append(event)
            stamps.append(now_s)
            self.size += size
            if len(events) > limits.messages or self.size > limits.size or stamps[0] <= now_s - limits.age_s:
                self._trim(now_s, limits)
        if left_out is not None:
            if self._left_out is None:
                self._left_out = {}
            self._left_out[self.seq] = left_out
            self.size += LEFT_OUT_BYTES

    def _trim(self, now_s: float, limits: RecoveryLimits) -> None:
        """Let go of the oldest events that are over the limits."""
        events, stamps = self._events or [], self._stamps or []
        oldest_s = now_s - limits.age_s
        while len(events) > limits.messages or stamps[0] <= oldest_s or self.size > limits.size:
            self.size -= len(events.pop(0)) + EVENT_BYTES  # of a few hundred pointers: a deque wins nothing
            del stamps[0]
            if not events:
                self.clear()
                return
        if self._left_out is not None:
            floor = self.floor
            for seq in [seq for seq in self._left_out if seq <= floor]:
                del self._left_out[seq]
                self.size -= LEFT_OUT_BYTES

    def clear(self) -> None:
        """Let go of all events; the position stays."""
        self._events = self._stamps = self._left_out = None
        self.size = 0

    def move(self, position: Position) -> None:
        """Stand elsewhere, with nothing kept: history is lost, or somebody else counts."""
        self.clear()
        self.epoch, self.seq = position

    def since(
        self, asked: Position, now_s: float, limits: RecoveryLimits, client: str | None = None
    ) -> list[tuple[int, bytes | None]] | None:
        """Return every event behind the position that was asked for, with its seq; None unless all are there.

        None in an event's place: `client` was left out of it.
        """
        if asked.epoch != self.epoch or asked.seq > self.seq:
            return None
        start = asked.seq - self.floor
        if start < self._aged(now_s, limits):
            return None
        left_out = self._left_out or {}
        return [
            (seq, None if client and left_out.get(seq) == client else event)
            for seq, event in enumerate((self._events or [])[start:], asked.seq + 1)
        ]

    def events(self, now_s: float, limits: RecoveryLimits, before: int | None = None) -> list[bytes]:
        """Return what is kept of the events before a seq, the oldest first."""
        end = self.seq + 1 if before is None else before
        return (self._events or [])[self._aged(now_s, limits) : max(0, end - 1 - self.floor)]

    def _aged(self, now_s: float, limits: RecoveryLimits) -> int:
        """Return how many of the events are too old."""
        return bisect_right(self._stamps or (), now_s - limits.age_s)


class ReplayBudget:
    """How much a connection has had replayed since when; monotonic seconds."""

    __slots__ = ("_since_s", "_used")

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._used = 0

    def take(self, size: int, now_s: float) -> bool:
        """Take so many bytes if there are as many left; returns whether there were."""
        if now_s - self._since_s >= REPLAY_BUDGET_S:
            self._since_s, self._used = now_s, 0
        if self._used + size > REPLAY_BUDGET_BYTES:
            return False
        self._used += size
        return True

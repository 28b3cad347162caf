"""Recovery of what a client missed: where a group stands, what it keeps, and who may have it replayed (section 4).

A group counts its recoverable events: each raises `seq` by one within an `epoch`, which is another one once history is
lost. The last events are kept within a window, and whoever names a position inside it gets everything since then.
Anybody else is told `recovered: false`: a replay is whole, or there is none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from wscore.envelope import MAX_SAFE_INTEGER, with_seq
from wscore.errors import ConfigError
from wscore.framing import numbered
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


class RecoveryLimits(Struct, frozen=True):
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

    def shared_by(self, count: int) -> RecoveryLimits:
        """Return the part of one of several who keep groups; raises ConfigError if that is less than a group needs."""
        return replace(self, memory=self.memory // count) if count > 1 else self

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return bool(self.messages and self.size and self.age_s and self.memory)


class GroupHistory:
    """Where a group stands, and its last events: those behind `floor` up to `seq`, without a gap.

    Events are `kept` as they were published, without their seq; the newest may be more than the window allows, until
    `trim`, and have no stamp but `used_s`, when the group was last of use. Whoever `is_held` by members keeps its
    position, whatever it has to let go of. Times are monotonic seconds.
    """

    __slots__ = (
        "_counted",
        "_left_out",
        "_size",
        "_stamps",
        "epoch",
        "is_held",
        "kept",
        "kind",
        "name",
        "seq",
        "used_s",
    )

    def __init__(self, kind: str, name: str, epoch: str) -> None:
        self.kind = kind
        self.name = name
        self.epoch = epoch
        self.seq = 0
        self.used_s = -1.0
        self.is_held = False
        # Lists, and only once there is something to keep: for a few events a deque takes six times as much.
        self.kept: list[bytes] | None = None
        self._stamps: list[float] | None = None
        self._size = self._counted = 0  # in bytes, and how many of the events are in that
        self._left_out: dict[int, str] | None = None

    @property
    def position(self) -> Position:
        """Where the group stands."""
        return Position(self.epoch, self.seq)

    @property
    def floor(self) -> int:
        """The lowest position from which all can be replayed."""
        return self.seq - (0 if self.kept is None else len(self.kept))

    @property
    def size(self) -> int:
        """What the events take in bytes, with all that holds them."""
        events = self.kept
        if events is not None and self._counted < len(events):
            self._size += sum(map(len, events[self._counted :])) + (len(events) - self._counted) * EVENT_BYTES
            self._counted = len(events)
        return self._size

    def begin(self) -> list[bytes]:
        """Return the list that keeps events, an empty one; each that is appended raises `seq` by one."""
        self.kept, self._stamps = [], []
        self._size = LISTS_BYTES
        return self.kept

    def leave_out(self, client: str) -> None:
        """Note that a client does not get the newest event."""
        if self._left_out is None:
            self._left_out = {}
        self._left_out[self.seq] = client
        self._size += LEFT_OUT_BYTES

    def use(self, now_s: float) -> None:
        """Note that it is of use now; with that everything is stamped that comes until it is of use again."""
        if self._stamps is not None:
            self._stamp(self._stamps)
        self.used_s = now_s

    def trim(self, now_s: float, limits: RecoveryLimits) -> int:
        """Let go of what is outside of the window; returns how many bytes that took."""
        events, stamps = self.kept, self._stamps
        if events is None or stamps is None:
            return 0
        self._stamp(stamps)
        size = self.size
        # As many as have come since the last time, in one go.
        start = max(0, len(events) - limits.messages, bisect_right(stamps, now_s - limits.age_s))
        freed = sum(map(len, events[:start])) + start * EVENT_BYTES
        while start < len(events) and size - freed > limits.size:
            freed += len(events[start]) + EVENT_BYTES
            start += 1
        if start == len(events):
            return self.clear()
        if start:
            del events[:start], stamps[:start]
            self._counted -= start
            freed += self._forget_left_out()
            self._size -= freed
        return freed

    def _stamp(self, stamps: list[float]) -> None:
        stamps += [self.used_s] * (len(self.kept or ()) - len(stamps))

    def _forget_left_out(self) -> int:
        """Forget who was left out of what is let go of; returns how many bytes that took."""
        if self._left_out is None:
            return 0
        floor = self.floor
        gone = [seq for seq in self._left_out if seq <= floor]
        for seq in gone:
            del self._left_out[seq]
        return len(gone) * LEFT_OUT_BYTES

    def clear(self) -> int:
        """Let go of all events, the position stays; returns how many bytes they took."""
        freed = self.size
        self.kept = self._stamps = self._left_out = None
        self._size = self._counted = 0
        return freed

    def move(self, position: Position) -> int:
        """Stand elsewhere, with nothing kept: history is lost, or somebody else counts; returns as `clear`."""
        self.epoch, self.seq = position
        return self.clear()

    def since(self, asked: Position, client: str | None = None) -> list[tuple[int, bytes | None]] | None:
        """Return every event behind the position that was asked for, with its seq; None unless all are there.

        None in an event's place: `client` was left out of it. To be called behind `trim`, as `events`.
        """
        if asked.epoch != self.epoch or asked.seq > self.seq:
            return None
        start = asked.seq - self.floor
        if start < 0:
            return None
        left_out = self._left_out or {}
        return [
            (seq, None if client and left_out.get(seq) == client else with_seq(event, seq))
            for seq, event in enumerate((self.kept or [])[start:], asked.seq + 1)
        ]

    def events(self, before: int | None = None) -> list[bytes]:
        """Return what is kept of the events before a seq, the oldest first."""
        end = self.seq + 1 if before is None else before
        events = (self.kept or [])[: max(0, end - 1 - self.floor)]
        return numbered(events, self.floor + 1)


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

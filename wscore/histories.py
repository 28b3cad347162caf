"""What all groups keep, under one cap: whoever was not of use for longest lets go first (design section 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from wscore.recovery import (
    EVENT_BYTES,
    LEFT_OUT_BYTES,
    LISTS_BYTES,
    MAX_EVENT_BYTES,
    GroupHistory,
    Position,
    RecoveryLimits,
)

# What a group takes that keeps something or has no member: the object, its name, and its places in two tables.
HISTORY_BYTES: Final = 480
# A window is applied each time when so many events have come of at most so many bytes, and before anybody reads it.
SPARE_EVENTS: Final = 24
SPARE_BYTES: Final = 4096


class Histories:
    """The histories of groups by kind and name; `new_epoch` names an epoch, each time another one.

    A group is forgotten when it has had no member and no event for the window's age, or under the cap. When it comes
    again its epoch is another one, so nobody takes it for what it was. Times are monotonic seconds, best one for each
    turn of the loop.
    """

    __slots__ = (
        "_by_name",
        "_epoch",
        "_is_stale",
        "_largest",
        "_limits",
        "_memory",
        "_most",
        "_new_epoch",
        "_used",
        "evicted",
        "size",
    )

    def __init__(self, limits: RecoveryLimits, new_epoch: Callable[[], str]) -> None:
        self._limits = limits
        self._new_epoch = new_epoch
        self._by_name: dict[str, dict[str, GroupHistory]] = {}
        # Those that could let go of something, the one that was not of use for longest first.
        self._used: OrderedDict[GroupHistory, None] = OrderedDict()
        self._epoch = new_epoch()
        self._is_stale = False
        self._memory = limits.memory
        self._most = limits.messages + SPARE_EVENTS
        self._largest = min(MAX_EVENT_BYTES, limits.size - LISTS_BYTES - EVENT_BYTES)
        self.size = 0  # what `_used` takes, in bytes
        self.evicted = 0  # events that the cap has cost, in all

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def get(self, kind: str, name: str) -> GroupHistory | None:
        """Return a group's history, None if there is none."""
        histories = self._by_name.get(kind)
        return None if histories is None else histories.get(name)

    def find(self, kind: str, name: str, now_s: float) -> GroupHistory:
        """Return a group's history, a new one if there is none."""
        try:
            return self._by_name[kind][name]
        except KeyError:
            return self._make(kind, name, now_s)

    def hold(self, history: GroupHistory) -> None:
        """Note that a group has members: its position stays, and is theirs to account for."""
        history.is_held = True
        if history.kept is None:
            self._disuse(history)

    def let_go(self, history: GroupHistory, now_s: float) -> None:
        """Note that a group has none any more: it stays for the window's age."""
        history.is_held = False
        self._use(history, now_s)
        self._shed(now_s)

    def append(self, history: GroupHistory, event: bytes, now_s: float, left_out: str | None = None) -> None:
        """Count an event of a group and keep it within the limits, without its seq; one too large is counted only.

        `left_out` names a client that does not get it.
        """
        events = history.kept
        if events is None or history.used_s != now_s:
            events = self._begin(history, now_s)
        events.append(event)
        history.seq += 1
        size = len(event)
        self.size += size + EVENT_BYTES
        if left_out is not None:
            history.leave_out(left_out)
            self.size += LEFT_OUT_BYTES
        if size > SPARE_BYTES or len(events) > self._most:
            if size > self._largest:
                self.size -= history.clear()  # no replay can cross it
            else:
                self._trim(history, now_s)
        if self.size > self._memory:
            self._trim(history, now_s)
            self._shed(now_s)

    def since(
        self, history: GroupHistory, asked: Position, now_s: float, client: str | None = None
    ) -> list[tuple[int, bytes | None]] | None:
        """Return every event of a group behind a position, if all are there, see `GroupHistory.since`."""
        self._trim(history, now_s)
        return history.since(asked, client)

    def events(self, history: GroupHistory, now_s: float, before: int | None = None) -> list[bytes]:
        """Return what is kept of a group's events before a seq, the oldest first."""
        self._trim(history, now_s)
        return history.events(before)

    def floor(self, history: GroupHistory, now_s: float) -> int:
        """Return the lowest position of a group from which all can be replayed."""
        self._trim(history, now_s)
        return history.floor

    def renew(self, history: GroupHistory) -> None:
        """Lose a group's history: it begins to count anew."""
        self.move(history, Position(self._new_epoch(), 0))

    def move(self, history: GroupHistory, position: Position) -> None:
        """Have a group stand elsewhere, with nothing kept."""
        self.size -= history.move(position)

    def forget(self, history: GroupHistory) -> None:
        """Let go of a group wholly: somebody else knows where it stands."""
        history.is_held = False
        self._drop(history)

    def expire(self, now_s: float, at_most: int) -> None:
        """Let go of what is too old, of so many groups at most."""
        oldest_s = now_s - self._limits.age_s
        for _ in range(at_most):
            history = next(iter(self._used), None)
            if history is None or history.used_s > oldest_s:
                break
            self._drop(history)

    def _begin(self, history: GroupHistory, now_s: float) -> list[bytes]:
        """Return where the events of a group are appended that come now."""
        if history.used_s != now_s:  # once a turn of the loop, which has one time
            self._use(history, now_s)
        events = history.kept
        if events is None:
            events = history.begin()
            self.size += LISTS_BYTES
        return events

    def _trim(self, history: GroupHistory, now_s: float) -> None:
        self.size -= history.trim(now_s, self._limits)

    def _make(self, kind: str, name: str, now_s: float) -> GroupHistory:
        self._shed(now_s, HISTORY_BYTES)
        if self._is_stale:  # a group may come again that was known in the last epoch
            self._epoch, self._is_stale = self._new_epoch(), False
        history = self._by_name.setdefault(kind, {})[name] = GroupHistory(kind, name, self._epoch)
        self._use(history, now_s)
        return history

    def _shed(self, now_s: float, more: int = 0) -> None:
        """Make room for what is there and for so many bytes more."""
        most = self._memory - more
        while self.size > most and self._used:
            history = next(iter(self._used))
            self._trim(history, now_s)
            if self.size <= most:
                break
            self.evicted += history.seq - history.floor
            self._drop(history)

    def _drop(self, history: GroupHistory) -> None:
        self._disuse(history)
        self.size -= history.clear()
        if not history.is_held:
            del self._by_name[history.kind][history.name]
            self._is_stale = True

    def _use(self, history: GroupHistory, now_s: float) -> None:
        if history.used_s < 0:
            self.size += HISTORY_BYTES
        history.use(now_s)
        self._used[history] = None
        self._used.move_to_end(history)

    def _disuse(self, history: GroupHistory) -> None:
        if history.used_s >= 0:
            history.used_s = -1.0
            self.size -= HISTORY_BYTES
            del self._used[history]

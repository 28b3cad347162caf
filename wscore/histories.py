"""What all groups keep, under one cap: whoever was not of use for longest lets go first (design section 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from wscore.recovery import GroupHistory, Position, RecoveryLimits

# What a group takes that keeps something or has no member: the object, its name, and its places in two tables.
HISTORY_BYTES: Final = 480


class Histories:
    """The histories of groups by kind and name; `new_epoch` names an epoch, each time another one.

    A group is forgotten when it has had no member and no event for the window's age, or under the cap. When it comes
    again its epoch is another one, so nobody takes it for what it was. Times are monotonic seconds.
    """

    __slots__ = ("_by_name", "_epoch", "_is_stale", "_limits", "_new_epoch", "_used", "evicted", "size")

    def __init__(self, limits: RecoveryLimits, new_epoch: Callable[[], str]) -> None:
        self._limits = limits
        self._new_epoch = new_epoch
        self._by_name: dict[str, dict[str, GroupHistory]] = {}
        # Those that could let go of something, the one that was not of use for longest first.
        self._used: OrderedDict[GroupHistory, None] = OrderedDict()
        self._epoch = new_epoch()
        self._is_stale = False
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
        if not history.size:
            self._disuse(history)

    def let_go(self, history: GroupHistory, now_s: float) -> None:
        """Note that a group has none any more: it stays for the window's age."""
        history.is_held = False
        self._use(history, now_s)
        self._shed()

    def append(self, history: GroupHistory, event: bytes, now_s: float, left_out: str | None = None) -> None:
        """Count an event of a group and keep it within the limits, see `GroupHistory.append`."""
        size = history.size
        history.append(event, now_s, self._limits, left_out)
        self.size += history.size - size
        if history.used_s != now_s:  # once a turn of the loop, which has one time
            self._use(history, now_s)
        if self.size > self._limits.memory:
            self._shed()

    def renew(self, history: GroupHistory) -> None:
        """Lose a group's history: it begins to count anew."""
        self.move(history, Position(self._new_epoch(), 0))

    def move(self, history: GroupHistory, position: Position) -> None:
        """Have a group stand elsewhere, with nothing kept."""
        self.size -= history.size
        history.move(position)

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

    def _make(self, kind: str, name: str, now_s: float) -> GroupHistory:
        if self._is_stale:  # a group may come again that was known in the last epoch
            self._epoch, self._is_stale = self._new_epoch(), False
        history = self._by_name.setdefault(kind, {})[name] = GroupHistory(kind, name, self._epoch)
        self._use(history, now_s)
        return history

    def _shed(self) -> None:
        while self.size > self._limits.memory and self._used:
            history = next(iter(self._used))
            self.evicted += history.seq - history.floor
            self._drop(history)

    def _drop(self, history: GroupHistory) -> None:
        self._disuse(history)
        self.size -= history.size
        history.clear()
        if not history.is_held:
            del self._by_name[history.kind][history.name]
            self._is_stale = True

    def _use(self, history: GroupHistory, now_s: float) -> None:
        if history.used_s < 0:
            self.size += HISTORY_BYTES
        history.used_s = now_s
        self._used[history] = None
        self._used.move_to_end(history)

    def _disuse(self, history: GroupHistory) -> None:
        if history.used_s >= 0:
            history.used_s = -1.0
            self.size -= HISTORY_BYTES
            del self._used[history]

"""Heartbeats off a timer wheel: each connection has its own phase, no sweep over all of them (design section 7).

Liveness has a time of its own, that of the wheel. It passes only as fast as the server itself runs and asks: what a
loop stood still for is taken out of it, so silence that the server caused counts against nobody.
"""

from __future__ import annotations

from typing import Final

from wscore.heartbeat import HeartbeatPolicy
from wsserver.connections.state import Connection

MAX_SLOTS: Final = 100
MIN_TICK_S: Final = 0.01


class HeartbeatWheel:
    """One turn lasts one heartbeat interval; a connection is due for a ping when the hand comes by its slot.

    A connection that would run out of its timeout before its next visit gets an extra look in the slot of its
    deadline, so silence is noticed within two ticks. `now_s` is the wheel's time, of which a connection's
    `last_seen_s` is taken: seconds since it started to turn.
    """

    __slots__ = ("_deadlines", "_hand", "_interval_s", "_policy", "_slot_of", "_slots", "_ticks", "now_s", "tick_s")

    def __init__(self, policy: HeartbeatPolicy) -> None:
        self._policy = policy
        self._interval_s = policy.interval_ms / 1000
        count = max(1, min(MAX_SLOTS, int(self._interval_s / MIN_TICK_S)))
        self.tick_s = self._interval_s / count
        self._slots: list[dict[str, Connection]] = [{} for _ in range(count)]
        self._deadlines: list[list[Connection]] = [[] for _ in range(count)]
        self._slot_of: dict[str, int] = {}
        self._hand = 0
        self._ticks = 0
        self.now_s = 0.0

    def add(self, connection: Connection) -> None:
        """Start watching a connection: its first ping comes one interval from now."""
        self._slot_of[connection.id] = self._hand
        self._slots[self._hand][connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Stop watching a connection."""
        slot = self._slot_of.pop(connection.id, None)
        if slot is not None:
            del self._slots[slot][connection.id]

    def advance(self) -> tuple[list[Connection], list[Connection]]:
        """Move the hand by one tick; returns who is gone, and who is due for a ping (one frame serves them all)."""
        self._ticks += 1
        self.now_s = self._ticks * self.tick_s
        self._hand = (self._hand + 1) % len(self._slots)
        early, self._deadlines[self._hand] = self._deadlines[self._hand], []
        gone: list[Connection] = []
        due: list[Connection] = []
        for connection in early:
            if connection.id in self._slot_of and self._is_gone(connection):
                gone.append(connection)
        for connection in self._slots[self._hand].values():
            (gone if self._is_gone(connection) else due).append(connection)
        return gone, due

    def _is_gone(self, connection: Connection) -> bool:
        # A sign of life is stamped with the tick before it, so it may be younger than its stamp by a tick.
        last_seen_ms = (connection.last_seen_s + self.tick_s) * 1000
        if self._policy.is_gone(last_seen_ms, self.now_s * 1000):
            return True
        left_s = self._policy.deadline_ms(last_seen_ms) / 1000 - self.now_s
        if left_s < self._interval_s:
            ticks = min(int(left_s / self.tick_s) + 1, len(self._slots))
            self._deadlines[(self._hand + ticks) % len(self._slots)].append(connection)
        return False


class Pace:
    """How many ticks of the wheel are due; a loop that is too late for them has stood still, and they are left out.

    A small delay is made up for, so that the wheel keeps time. It is small as long as two in a row (one before a
    ping goes out, one before its answer is read) use up half of what an answer may take. Monotonic seconds.
    """

    __slots__ = ("_allowed_s", "_tick_s", "due_s")

    def __init__(self, policy: HeartbeatPolicy, tick_s: float, now_s: float) -> None:
        slack_s = (policy.timeout_ms - policy.interval_ms) / 1000
        self._allowed_s = min(policy.interval_ms / 1000, max(0.0, slack_s / 4 - tick_s))
        self._tick_s = tick_s
        self.due_s = now_s + tick_s

    def ticks(self, now_s: float) -> int:
        """Return how often to advance the wheel now, and set `due_s` to when to ask again."""
        late_s = now_s - self.due_s
        if late_s < 0:
            return 0
        self.due_s += max(0.0, late_s - self._allowed_s)
        count = int((now_s - self.due_s) / self._tick_s) + 1
        self.due_s += count * self._tick_s
        return count

"""Heartbeats off a timer wheel: each connection has its own phase, no sweep over all of them (design section 7)."""

from __future__ import annotations

from typing import Final

from wscore.heartbeat import HeartbeatPolicy
from wsserver.connections import Connection

MAX_SLOTS: Final = 100
MIN_TICK_S: Final = 0.01


class HeartbeatWheel:
    """One turn lasts one heartbeat interval; a connection is due for a ping when the hand comes by its slot.

    A connection that would run out of its timeout before its next visit gets an extra look in the slot of its
    deadline, so silence is noticed within one tick. Times are monotonic seconds, given by the caller.
    """

    __slots__ = ("_deadlines", "_hand", "_interval_s", "_policy", "_slot_of", "_slots", "tick_s")

    def __init__(self, policy: HeartbeatPolicy) -> None:
        self._policy = policy
        self._interval_s = policy.interval_ms / 1000
        count = max(1, min(MAX_SLOTS, int(self._interval_s / MIN_TICK_S)))
        self.tick_s = self._interval_s / count
        self._slots: list[dict[str, Connection]] = [{} for _ in range(count)]
        self._deadlines: list[list[Connection]] = [[] for _ in range(count)]
        self._slot_of: dict[str, int] = {}
        self._hand = 0

    def add(self, connection: Connection) -> None:
        """Start watching a connection: its first ping comes one interval from now."""
        self._slot_of[connection.id] = self._hand
        self._slots[self._hand][connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Stop watching a connection."""
        slot = self._slot_of.pop(connection.id, None)
        if slot is not None:
            del self._slots[slot][connection.id]

    def advance(self, now_s: float) -> tuple[list[Connection], list[Connection]]:
        """Move the hand by one tick; returns who is gone, and who is due for a ping (one frame serves them all)."""
        self._hand = (self._hand + 1) % len(self._slots)
        early, self._deadlines[self._hand] = self._deadlines[self._hand], []
        gone: list[Connection] = []
        due: list[Connection] = []
        for connection in early:
            if connection.id in self._slot_of and self._is_gone(connection, now_s):
                gone.append(connection)
        for connection in self._slots[self._hand].values():
            (gone if self._is_gone(connection, now_s) else due).append(connection)
        return gone, due

    def _is_gone(self, connection: Connection, now_s: float) -> bool:
        last_seen_ms = connection.last_seen_s * 1000
        if self._policy.is_gone(last_seen_ms, now_s * 1000):
            return True
        left_s = self._policy.deadline_ms(last_seen_ms) / 1000 - now_s
        if left_s < self._interval_s:
            ticks = min(int(left_s / self.tick_s) + 1, len(self._slots))
            self._deadlines[(self._hand + ticks) % len(self._slots)].append(connection)
        return False

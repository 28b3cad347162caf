"""Events that wait to be sent to one target, within bounds: when there are too many, the oldest are let go of."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

EVENT_BYTES: Final = 64  # what an event takes here besides its text
MAX_EVENTS: Final = 50_000
BATCH_EVENTS: Final = 200
BATCH_BYTES: Final = 256 << 10


class EventBatch(NamedTuple):
    """Events that are sent together, and how many were let go of before them."""

    events: list[bytes]
    lost: int


class EventQueue:
    """Events in their order. `size` is what they take in bytes, those of a batch that was taken out included."""

    __slots__ = ("_events", "_lost", "_max_bytes", "_max_events", "_taken", "_taken_size", "_waiting_size")

    def __init__(self, max_bytes: int, max_events: int = MAX_EVENTS) -> None:
        self._events: deque[bytes] = deque()
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._waiting_size = 0
        self._taken = 0
        self._taken_size = 0
        self._lost = 0

    def __len__(self) -> int:
        return len(self._events) + self._taken

    @property
    def size(self) -> int:
        """What all that takes, in bytes."""
        return self._waiting_size + self._taken_size

    @property
    def fills_batch(self) -> bool:
        """Whether what waits is enough not to wait for more."""
        return len(self._events) >= BATCH_EVENTS or self._waiting_size >= BATCH_BYTES

    def put(self, event: bytes) -> int:
        """Add an event; returns how many were let go of for it, itself perhaps."""
        self._events.append(event)
        self._waiting_size += len(event) + EVENT_BYTES
        dropped = 0
        while self._events and (self.size > self._max_bytes or len(self) > self._max_events):
            self._waiting_size -= len(self._events.popleft()) + EVENT_BYTES
            dropped += 1
        self._lost += dropped
        return dropped

    def take(self) -> EventBatch:
        """Take the oldest events out, as many as are sent together; they count until they are `done`."""
        events: list[bytes] = []
        size = 0
        while self._events and len(events) < BATCH_EVENTS:
            next_size = len(self._events[0]) + EVENT_BYTES
            if events and size + next_size > BATCH_BYTES:
                break
            events.append(self._events.popleft())
            size += next_size
        self._taken, self._taken_size = len(events), size
        self._waiting_size -= size
        lost, self._lost = self._lost, 0
        return EventBatch(events, lost)

    def done(self, *, lost: int = 0) -> None:
        """Forget the batch that was taken, of which so many events were lost."""
        self._lost += lost
        self._taken = self._taken_size = 0

    def clear(self) -> int:
        """Let go of everything; returns how many events that were."""
        count = len(self)
        self._events.clear()
        self._waiting_size = self._taken = self._taken_size = 0
        return count

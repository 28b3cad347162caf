"""What waits to be stored in Redis: batches in order, each until it is answered, within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from wsserver.telemetry.counters import Histogram

MAX_QUEUED_CALLS: Final = 20_000
MAX_QUEUED_BYTES: Final = 32 << 20
GIVE_UP_S: Final = 10.0  # how long a publish may wait to be acknowledged
RESENT_S: Final = 90.0  # nor is one sent again later: the store may know it no more, and would do it twice


@dataclass(frozen=True, slots=True)
class Keys:
    """A group's names in Redis."""

    channel: str
    meta: str
    log: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch is in the store: its numbered items begin at `first`, 0 where that is not known any more."""

    epoch: str
    first: int


@dataclass(frozen=True, slots=True)
class NotStored:
    """A batch is not in the store, and will not be; or nobody knows whether it is."""

    problem: str
    is_unknown: bool = False


class QueuedBatch:
    """A batch on its way; `is_told` once its sender has an answer, though it may stay queued."""

    __slots__ = ("done", "is_sent", "is_told", "keys", "number", "packed", "since_s")

    def __init__(
        self,
        keys: Keys,
        packed: bytes,
        number: int,
        since_s: float,
        done: Callable[[Stored | NotStored], None],
    ) -> None:
        self.keys = keys
        self.packed = packed
        self.number = number
        self.since_s = since_s
        self.done = done
        self.is_sent = self.is_told = False


class PublishQueue:
    """Batches, sent or not, until they are answered in their order. `now_s` is monotonic; `times` takes how long."""

    __slots__ = ("_batches", "_now_s", "_number", "_times", "size")

    def __init__(self, now_s: Callable[[], float], times: Histogram) -> None:
        self._batches: deque[QueuedBatch] = deque()
        self._now_s = now_s
        self._times = times
        self._number = 0
        self.size = 0  # in bytes

    def __iter__(self) -> Iterator[QueuedBatch]:
        return iter(self._batches)

    def put(self, keys: Keys, packed: bytes, done: Callable[[Stored | NotStored], None]) -> QueuedBatch | None:
        """Let a batch wait; None if too much does, which `done` is told."""
        if len(self._batches) >= MAX_QUEUED_CALLS or self.size + len(packed) > MAX_QUEUED_BYTES:
            done(NotStored("too much waits for the broker"))
            return None
        self._number += 1
        batch = QueuedBatch(keys, packed, self._number, self._now_s(), done)
        self._batches.append(batch)
        self.size += len(packed)
        return batch

    def answered(self, answer: Stored | NotStored) -> None:
        """Tell the sender of the first one."""
        batch = self._batches.popleft()
        self.size -= len(batch.packed)
        self._times.observe(self._now_s() - batch.since_s)
        if not batch.is_told:
            batch.done(answer)

    def tell_waiting(self) -> None:
        """Answer those who have waited too long: what was sent may be stored, and stays queued."""
        now_s = self._now_s()
        if not self._batches or now_s - self._batches[0].since_s <= GIVE_UP_S:
            return
        kept: deque[QueuedBatch] = deque()
        for batch in self._batches:
            if now_s - batch.since_s <= GIVE_UP_S:
                kept.append(batch)
                continue
            if batch.is_sent:
                kept.append(batch)
            else:
                self.size -= len(batch.packed)
            if not batch.is_told:
                batch.is_told = True
                batch.done(NotStored("the broker does not answer", is_unknown=batch.is_sent))
        self._batches = kept

    def forget_old(self) -> None:
        """Let go of what is too old to be sent again; whoever waited for it has an answer."""
        oldest_s = self._now_s() - RESENT_S
        self._batches = deque(batch for batch in self._batches if not (batch.is_told and batch.since_s < oldest_s))
        self.size = sum(len(batch.packed) for batch in self._batches)

    def tell_all(self, answer: NotStored) -> None:
        """Answer everybody: nothing goes out any more."""
        batches, self._batches, self.size = self._batches, deque(), 0
        for batch in batches:
            if not batch.is_told:
                batch.done(answer)

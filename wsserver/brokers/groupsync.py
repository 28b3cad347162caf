"""A group of this process, kept level with the store that all processes share (design section 8). Pure: no I/O.

It is syncing until it has read the store, then live. Live it takes what follows its position and nothing else: whatever
does not fit is looked up in the store. So a subscription may lose, repeat or delay what it likes.
"""

from __future__ import annotations

from typing import Final, Protocol

from wscore.recovery import Position
from wsserver.brokers.batches import Batch, Item

MAX_EARLY_BYTES: Final = 4 << 20  # of batches that wait for the store's answer


class GroupEvents(Protocol):
    """What a group does with its messages."""

    def take(self, item: Item, seq: int | None) -> None:
        """Deliver the next message; `seq` is its number, None for one without."""

    def begin(self, position: Position) -> None:
        """Begin to count at a position, before anything is delivered."""

    def lose(self, position: Position) -> None:
        """Begin to count anew: what was between is lost to those who are here."""


class GroupSync:
    """State of one group. `is_live` says whether it is level with the store; only then may clients come in."""

    __slots__ = ("_asked", "_early", "_early_bytes", "_epoch", "_events", "_seq", "dropped", "is_live")

    def __init__(self, events: GroupEvents) -> None:
        self._events = events
        self._asked = 0
        self._early: list[tuple[Batch, int]] = []
        self._early_bytes = 0
        self._epoch: str | None = None
        self._seq = 0
        self.is_live = False
        self.dropped = 0  # batches that found no room while it waited; the store has them

    @property
    def position(self) -> Position | None:
        """Where the group stands; None until it has been level with the store."""
        return None if self._epoch is None else Position(self._epoch, self._seq)

    @property
    def after(self) -> int:
        """The seq behind which the store is to be read, -1 for the position alone."""
        return -1 if self._epoch is None else self._seq

    def ask(self) -> int:
        """Note that the store is asked; returns the question's number, which `answered` wants back."""
        self.is_live = False
        self._asked += 1
        return self._asked

    def pushed(self, batch: Batch) -> bool:
        """Take what the subscription brought; returns whether the store must be asked."""
        if self.is_live and self._fits(batch):
            return False
        must_ask, self.is_live = self.is_live, False
        self._keep(batch, self._asked)
        return must_ask

    def answered(self, question: int, position: Position, items: list[Item]) -> bool:
        """Take the store's answer: all numbered items behind what `after` was, or none; returns as `pushed`."""
        if question != self._asked:
            return False
        self._catch_up(position, items)
        self.is_live = True
        early, self._early, self._early_bytes = self._early, [], 0
        for batch, asked in early:
            if batch.epoch != position.epoch and asked < question:
                continue  # it came before the question was put, so it is older than the answer
            if not self.is_live or not self._fits(batch):
                self.is_live = False
                self._keep(batch, asked)  # under its old number, or it would be asked for again for ever
        return not self.is_live

    def _keep(self, batch: Batch, asked: int) -> None:
        size = sum(len(item.payload) for item in batch.items)
        if self._early_bytes + size > MAX_EARLY_BYTES:
            self.dropped += 1
            return
        self._early_bytes += size
        self._early.append((batch, asked))

    def _fits(self, batch: Batch) -> bool:
        """Deliver a batch if it follows, drop it if it came before; False for a gap or another epoch."""
        take, count = self._events.take, batch.numbered
        if not count:
            for item in batch.items:
                take(item, None)
            return True
        held, seq = self._seq, batch.first - 1
        if batch.epoch != self._epoch or seq > held:
            return False
        last = seq + count
        if last <= held:
            return True
        self._seq = last
        for item in batch.items:
            if not item.is_numbered:
                take(item, None)
                continue
            seq += 1
            if seq > held:
                take(item, seq)
        return True

    def _catch_up(self, position: Position, items: list[Item]) -> None:
        epoch, held = self._epoch, self._seq
        if epoch is None:
            self._epoch, self._seq = position
            self._events.begin(position)
        elif epoch != position.epoch:
            self._lose(position)
        elif position.seq > held:
            if len(items) != position.seq - held:
                self._lose(position)
                return
            self._seq = position.seq
            for seq, item in enumerate(items, held + 1):
                self._events.take(item, seq)

    def _lose(self, position: Position) -> None:
        self._epoch, self._seq = position
        self._events.lose(position)

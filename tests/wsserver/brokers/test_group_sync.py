"""A group that is kept level with a store: no order of events makes a gap that nobody is told of."""

from __future__ import annotations

import os
from functools import partial

import pytest

from tests.wsserver.brokers.syncworld import run
from wscore.recovery import Position
from wsserver.brokers.batches import Batch, Item
from wsserver.brokers.groupsync import MAX_EARLY_BYTES, GroupSync

SEEDS = int(os.environ.get("CHAOS_SEEDS", "100"))


class Partial(GroupSync):
    """Delivers what is left of the window as if it were all."""

    __slots__ = ()

    def _lose(self, position):
        self._epoch, self._seq = position


class DeafWhileSyncing(GroupSync):
    """Forgets what came while it asked, and believes that it is level."""

    __slots__ = ()

    def _keep(self, batch, asked):
        self._epoch, self._seq = batch.epoch, batch.first


class AsksForEver(GroupSync):
    """Takes what came before a question for newer than its answer."""

    __slots__ = ()

    def _keep(self, batch, asked):
        super()._keep(batch, asked + 1_000_000)


@pytest.mark.chaos
def test_nothing_is_lost_doubled_or_out_of_order_without_a_word():
    resumed, lost = (sum(counts) for counts in zip(*map(run, range(SEEDS)), strict=True))
    assert resumed > SEEDS / 2
    assert lost > SEEDS / 20


@pytest.mark.parametrize("mutant", [Partial, DeafWhileSyncing, AsksForEver])
def test_the_oracle_catches(mutant):
    with pytest.raises(AssertionError, match=r"came after|is not the end|for ever|is not what"):
        list(map(partial(run, sync=mutant), range(400)))


class Taken:
    def __init__(self):
        self.events = []

    def take(self, item, seq):
        self.events.append((item.payload, seq))

    def begin(self, position):
        self.events.append(position)

    lose = begin


def batch(first, *payloads, epoch="e", numbered=True):
    return Batch(epoch, first, len(payloads) * numbered, [Item(payload, numbered) for payload in payloads])


def test_lossy_messages_keep_their_place_in_a_batch():
    taken = Taken()
    sync = GroupSync(taken)
    assert not sync.answered(sync.ask(), Position("e", 4), [])
    mixed = Batch("e", 5, 2, (Item(b"a", True), Item(b"lossy", False, is_lossy=True), Item(b"b", True)))
    assert not sync.pushed(mixed)
    assert not sync.pushed(mixed)  # once more: it came before
    assert taken.events == [Position("e", 4), (b"a", 5), (b"lossy", None), (b"b", 6)]


def test_what_waits_for_the_store_is_bounded_in_bytes():
    sync = GroupSync(Taken())
    question = sync.ask()
    for first in range(1, 100):
        sync.pushed(batch(first, b"x" * 100_000))
    assert sync.dropped > 0
    assert sync._early_bytes <= MAX_EARLY_BYTES
    assert not sync.answered(question, Position("e", 0), [])
    assert sync.position.seq == 99 - sync.dropped
    assert sync.pushed(batch(100, b"y"))  # the gap shows, and is asked for


def test_an_answer_to_an_older_question_is_not_taken():
    sync = GroupSync(Taken())
    old = sync.ask()
    question = sync.ask()
    assert not sync.answered(old, Position("e", 1), [])
    assert not sync.is_live
    assert not sync.answered(question, Position("e", 2), [])
    assert sync.is_live

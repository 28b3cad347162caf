"""The ledger against a reference that knows every single delivery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import PublisherLog, Receipt, Streaks, counted, settle
from loadtest.wire import Ledger


def take(streaks: Streaks, numbers: list[int]) -> list[Receipt]:
    """Receive messages of publisher 0 as a connection does."""
    receipts = []
    for number in numbers:
        if streaks.ends[0] == number:
            streaks.ends[0] += 1
            receipts.append(Receipt.NEW)
        else:
            receipts.append(streaks.irregular(0, number))
    return receipts


def ledger_of(numbers: list[int], *, sent: int, counts: tuple[int, int] | None = None, **presence: int) -> Ledger:
    """Return the ledger of one publisher, whose message n is sent at 10 n ns, and one receiver."""
    streaks = Streaks(1)
    receipts = take(streaks, numbers)
    start, end = counts or (0, sent)
    log = PublisherLog(0, 0, [10 * number for number in range(sent)], start, end)
    held = {streak: [7] for streak in streaks.all(0, **{"joined_ns": -1, **presence})}
    duplicated, reordered = receipts.count(Receipt.DUPLICATE), receipts.count(Receipt.REORDERED)
    settled = settle([log], held, duplicated=duplicated, reordered=reordered)
    assert settled.lost_of.total() == settled.lost_of[7] == settled.lost_at_s.total() == settled.ledger.lost
    return settled.ledger


def test_all_in_order_is_nothing_to_report():
    assert ledger_of([0, 1, 2, 3], sent=4) == Ledger(published=4, expected=4, received=4)


@pytest.mark.parametrize(
    ("numbers", "lost", "duplicated", "reordered"),
    [
        ([0, 2, 3], 1, 0, 0),
        ([1, 2, 3], 1, 0, 0),
        ([0, 1, 2], 1, 0, 0),
        ([], 4, 0, 0),
        ([0, 1, 1, 2, 3], 0, 1, 0),
        ([0, 2, 1, 3], 0, 0, 1),
        ([3, 2, 1, 0], 0, 0, 3),
        ([1, 0, 0, 2, 3], 0, 1, 1),
        ([2, 2, 0], 2, 1, 1),
    ],
)
def test_what_is_lost_repeated_and_out_of_order(numbers, lost, duplicated, reordered):
    assert ledger_of(numbers, sent=4) == Ledger(4, 4, 4 - lost, lost, duplicated, reordered)


def test_only_what_was_due_in_the_window_counts():
    assert ledger_of([0, 2, 3, 5], sent=6, counts=(2, 5)) == Ledger(published=3, expected=3, received=2, lost=1)


def test_who_comes_later_is_owed_what_was_sent_after_that():
    ledger = ledger_of([3, 4], sent=5, joined_ns=15)  # between 1 and 2
    assert ledger == Ledger(published=5, expected=3, received=2, lost=1)


def test_what_was_under_way_when_somebody_came_is_neither_owed_nor_lost():
    assert ledger_of([1, 2, 3], sent=4, joined_ns=15) == Ledger(published=4, expected=2, received=2)


def test_who_leaves_is_owed_nothing_more():
    assert ledger_of([0, 1], sent=5, left_ns=25) == Ledger(published=5, expected=3, received=2, lost=1)


def test_the_receivers_of_a_session_are_not_owed_what_another_one_gets():
    streaks = Streaks(1)
    take(streaks, [0, 1])
    logs = [PublisherLog(session, 0, [0, 10], 0, 2) for session in (0, 1)]
    held = {streak: [0] for streak in streaks.all(1, joined_ns=-1)}
    assert settle(logs, held).ledger == Ledger(published=4, expected=2, received=2)


def test_a_loss_belongs_to_its_receiver_and_to_the_second_in_which_the_message_was_sent():
    whole, torn = Streaks(1), Streaks(1)
    take(whole, [0, 1, 2, 3, 4])
    take(torn, [1, 3])
    log = PublisherLog(0, 0, [number * 10**9 + 5 for number in range(5)], 0, 5)
    held = {whole.all(0, joined_ns=-1)[0]: [3, 4], torn.all(0, joined_ns=-1)[0]: [9, 11]}
    settled = settle([log], held)
    assert settled.lost_of == {9: 3, 11: 3}
    assert settled.lost_at_s == {0: 2, 2: 2, 4: 2}


def test_the_window_holds_its_start_and_not_its_end():
    assert counted([0, 10, 20, 30], 10, 30) == (1, 3)


@given(
    arrivals=st.lists(st.integers(0, 30), max_size=60),
    window=st.tuples(st.integers(0, 31), st.integers(0, 31)).map(sorted),
    joined=st.integers(-1, 31),
)
def test_it_agrees_with_a_list_of_every_delivery(arrivals, window, joined):
    start, end = window
    ledger = ledger_of(arrivals, sent=31, counts=(start, end), joined_ns=10 * joined)
    owed = {number for number in range(31) if start <= number < end and number > joined}
    assert ledger.expected == len(owed)
    assert ledger.received == len(owed & set(arrivals))
    assert ledger.lost == ledger.expected - ledger.received
    assert ledger.duplicated == len(arrivals) - len(set(arrivals))
    firsts = list(dict.fromkeys(arrivals))
    assert ledger.reordered == sum(number < max(firsts[:place]) for place, number in enumerate(firsts) if place)

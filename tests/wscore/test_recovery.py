"""Positions, windows, the cap over all of them, and how a client counts."""

from __future__ import annotations

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.counting import EventCounter, EventPlace
from wscore.envelope import MAX_SAFE_INTEGER, MessageProtocol, with_seq
from wscore.errors import ConfigError
from wscore.histories import HISTORY_BYTES, SPARE_BYTES, SPARE_EVENTS, Histories
from wscore.recovery import (
    EVENT_BYTES,
    LISTS_BYTES,
    MAX_EVENT_BYTES,
    NOWHERE,
    GroupHistory,
    Position,
    RecoveryLimits,
    read_position,
)

LIMITS = RecoveryLimits(messages=5, size=2000, age_s=60, memory=10_000)


def histories(limits: RecoveryLimits = LIMITS) -> Histories:
    numbers = count()
    return Histories(limits, lambda: f"e{next(numbers)}")


def seqs(store: Histories, history: GroupHistory, seq: int, now_s: float = 0) -> list[int] | None:
    events = store.since(history, Position(history.epoch, seq), now_s)
    return None if events is None else [number for number, _ in events]


def test_a_seq_is_spliced_into_an_envelope_and_nothing_else_changes():
    protocol = MessageProtocol(lambda: 1)
    envelope = protocol.serialize(protocol.create_envelope("message", {"a": [1, "}"]}, "lobby", user_id="alice"))
    spliced = with_seq(envelope, 17)
    assert spliced.startswith(envelope[:-1])
    assert json.loads(spliced) == {**json.loads(envelope), "seq": 17}


@pytest.mark.parametrize(
    ("epoch", "seq", "position"),
    [
        ("e-1_Z", "0", Position("e-1_Z", 0)),
        ("e", str(MAX_SAFE_INTEGER), Position("e", MAX_SAFE_INTEGER)),
        ("e", 7, Position("e", 7)),
        ("", "1", NOWHERE),
        ("e" * 33, "1", NOWHERE),
        ("e.", "1", NOWHERE),
        ("e\n", "1", NOWHERE),
        (None, "1", NOWHERE),
        (1, 1, NOWHERE),
        ("e", None, NOWHERE),
        ("e", "", NOWHERE),
        ("e", "-1", NOWHERE),
        ("e", -1, NOWHERE),
        ("e", "01", NOWHERE),
        ("e", "1.0", NOWHERE),
        ("e", 1.0, NOWHERE),
        ("e", True, NOWHERE),
        ("e", "\u0661", NOWHERE),
        ("e", MAX_SAFE_INTEGER + 1, NOWHERE),
        ("e", str(MAX_SAFE_INTEGER + 1), NOWHERE),
        ("e", {"a": 1}, NOWHERE),
    ],
)
def test_a_position_is_read_or_malformed(epoch, seq, position):
    assert read_position(epoch, seq) == position


def test_a_new_group_stands_at_0_and_its_first_event_is_1():
    store = histories()
    history = store.find("room", "lobby", 0)
    assert history.position == Position("e0", 0)
    assert seqs(store, history, 0) == []
    store.append(history, b"first", 0)
    assert history.position == Position("e0", 1)
    assert store.since(history, Position("e0", 0), 0) == [(1, with_seq(b"first", 1))]


@pytest.mark.parametrize("asked", [NOWHERE, Position("e0", 4), Position("other", 3)])
def test_malformed_ahead_and_of_another_epoch_are_not_recovered(asked):
    store = histories()
    history = store.find("room", "lobby", 0)
    for _ in range(3):
        store.append(history, b"x", 0)
    assert store.since(history, asked, 0) is None


@given(
    bursts=st.lists(
        st.tuples(
            st.sampled_from((0, 1, 100, 700, 1700, 1900, 2500)),
            st.sampled_from((0, 1, 30, 60)),
            st.sampled_from((1, 40)),
        )
    ),
    asked=st.integers(0, 400),
    later=st.sampled_from((0, 1, 59, 60, 61)),
)
def test_a_window_gives_all_or_nothing_just_as_counting_by_hand_says(bursts, asked, later):
    store = histories()
    history = store.find("room", "lobby", 0)
    now_s, published = 0, []
    for size, pause, times in bursts:
        now_s += pause
        published += [(b"x" * size, now_s)] * times
        for _ in range(times):
            store.append(history, *published[-1])
        assert store.size == HISTORY_BYTES + history.size
    now_s += later
    kept: list[tuple[int, bytes]] = []
    for seq in range(len(published), 0, -1):
        event, published_s = published[seq - 1]
        room = LIMITS.size - LISTS_BYTES - sum(len(event) + EVENT_BYTES for _, event in kept)
        fits = len(kept) < LIMITS.messages and len(event) + EVENT_BYTES <= room and now_s - published_s < LIMITS.age_s
        if not fits:
            break
        kept.insert(0, (seq, event))
    numbered = [(seq, with_seq(event, seq)) for seq, event in kept]
    behind = [(seq, event) for seq, event in numbered if seq > asked]
    whole = asked <= len(published) and len(behind) == len(published) - asked
    assert store.since(history, Position(history.epoch, asked), now_s) == (behind if whole else None)
    assert store.events(history, now_s) == [event for _, event in numbered]
    assert store.events(history, now_s, before=asked) == [event for seq, event in numbered if seq < asked]
    assert store.size == HISTORY_BYTES + history.size
    assert history.size <= LIMITS.size


def test_a_turn_of_many_events_keeps_few_more_than_the_window():
    store = histories(RecoveryLimits(messages=5, size=2 << 20, age_s=60, memory=4 << 20))
    history = store.find("room", "lobby", 0)
    for number in range(1, 1000):
        store.append(history, b"x" * SPARE_BYTES, 0)
        assert number - history.floor <= 5 + SPARE_EVENTS
        assert store.size == HISTORY_BYTES + history.size
    store.append(history, b"x" * (SPARE_BYTES + 1), 0)  # of large ones it keeps none
    assert history.floor == 995


def test_an_event_that_is_too_large_takes_a_seq_and_no_replay_crosses_it():
    limits = RecoveryLimits()
    store = histories(limits)
    history = store.find("room", "lobby", 0)
    store.append(history, b"x" * MAX_EVENT_BYTES, 0)
    assert seqs(store, history, 0) == [1]
    store.append(history, b"x" * (MAX_EVENT_BYTES + 1), 0)
    store.append(history, b"y", 0)
    assert history.seq == 3
    assert seqs(store, history, 1) is None
    assert seqs(store, history, 2) == [3]


def test_who_was_left_out_of_an_event_gets_its_place_only():
    store = histories()
    history = store.find("room", "lobby", 0)
    store.append(history, b"{1}", 0)
    store.append(history, b"{2}", 0, left_out="alice")
    start = Position("e0", 0)
    events = [(1, b'{1,"seq":1}'), (2, b'{2,"seq":2}')]
    assert store.since(history, start, 0, "alice") == [events[0], (2, None)]
    assert store.since(history, start, 0, "bob") == store.since(history, start, 0) == events


def test_a_group_with_members_keeps_its_position_when_everything_is_too_old():
    store = histories()
    history = store.find("room", "lobby", 0)
    store.hold(history)
    store.append(history, b"x", 0)
    store.expire(61, 100)
    assert (history.position, history.size, store.size) == (Position("e0", 1), 0, 0)
    assert seqs(store, history, 0, 61) is None
    assert seqs(store, history, 1, 61) == []


def test_a_group_outlives_its_last_member_by_the_windows_age_and_comes_again_as_another():
    store = histories()
    history = store.find("room", "lobby", 0)
    store.hold(history)
    store.let_go(history, 100)
    store.expire(159.9, 100)
    assert store.find("room", "lobby", 159.9) is history
    store.expire(160, 100)
    assert len(store) == 0
    assert store.find("room", "lobby", 160).epoch != history.epoch


def test_a_group_that_was_forgotten_never_replays_what_another_life_of_it_published():
    store = histories()
    first = store.find("room", "lobby", 0)
    store.append(first, b"old", 0)
    asked = first.position
    store.expire(60, 100)
    again = store.find("room", "lobby", 60)
    for _ in range(3):
        store.append(again, b"new", 60)
    assert store.since(again, asked, 60) is None


def test_what_is_forgotten_at_once_is_bounded():
    store = histories()
    for number in range(5):
        store.find("room", str(number), 0)
    store.expire(60, 2)
    assert len(store) == 3


def test_the_cap_takes_from_what_was_not_of_use_for_longest_and_tells():
    store = histories(RecoveryLimits(messages=5, size=2000, age_s=60, memory=4000))
    quiet, busy = store.find("room", "quiet", 0), store.find("room", "busy", 0)
    store.hold(quiet)
    store.append(quiet, b"x" * 1000, 1)
    for now_s in range(2, 4):
        store.append(busy, b"x" * 700, now_s)
    assert (seqs(store, quiet, 0, 3), seqs(store, busy, 0, 3)) == ([1], [1, 2])
    store.append(store.find("room", "third", 4), b"x" * 500, 4)
    assert seqs(store, quiet, 0, 4) is None
    assert seqs(store, quiet, 1, 4) == []  # who missed nothing goes on
    assert seqs(store, busy, 0, 4) == [1, 2]
    assert store.evicted == 1
    assert store.size <= 4000


def test_a_hundred_thousand_rooms_with_a_message_each_stay_under_the_cap():
    memory = 1 << 20
    store = histories(RecoveryLimits(memory=memory))
    for number in range(100_000):
        history = store.find("room", f"room-{number}", number / 1000)
        store.append(history, b"x" * 180, number / 1000)
        assert store.size <= memory
    kept = len(store)
    assert 0 < kept == memory // (HISTORY_BYTES + LISTS_BYTES + EVENT_BYTES + 180)
    assert store.evicted == 100_000 - kept
    # Whoever comes back to an evicted one is told, since its epoch is another one now.
    assert store.since(store.find("room", "room-0", 100), Position("e0", 0), 100) is None


def test_a_group_that_only_counts_takes_its_room_from_others_under_the_cap():
    store = histories(LIMITS)
    rooms = 0
    while store.size + HISTORY_BYTES <= LIMITS.memory:
        store.append(store.find("room", f"r{rooms}", 0), b"x" * 100, 0)
        rooms += 1
    assert store.get("room", "r0") is not None
    store.find("room", "another", 0)
    assert store.size <= LIMITS.memory
    assert store.get("room", "r0") is None
    assert store.get("room", "another") is not None


def test_the_cap_may_take_the_newest_event_too():
    store = histories(RecoveryLimits(messages=5, size=500, age_s=60, memory=500))
    history = store.find("room", "lobby", 0)
    store.hold(history)
    store.append(history, b"x" * 250, 0)
    assert (history.seq, history.size, store.size, store.evicted) == (1, 0, 0, 1)
    store.append(history, b"small", 0)  # in the same turn
    assert store.size <= 500


def test_a_history_that_is_lost_begins_again_under_another_epoch():
    store = histories()
    history = store.find("room", "lobby", 0)
    store.append(history, b"x", 0)
    before = history.position
    store.renew(history)
    assert history.position.seq == 0
    assert history.epoch != before.epoch
    assert store.since(history, before, 0) is None
    assert store.size == HISTORY_BYTES


@pytest.mark.parametrize("zero", ["messages", "size", "age_s", "memory"])
def test_a_zero_turns_recovery_off(zero):
    assert RecoveryLimits().is_on
    assert not RecoveryLimits(**{zero: 0}).is_on


def test_a_cap_below_one_groups_window_is_refused():
    with pytest.raises(ConfigError) as caught:
        RecoveryLimits(size=1000, memory=999)
    assert caught.value.setting == "--recovery-memory"


def test_a_client_takes_what_is_next_drops_what_it_has_and_sees_a_gap():
    counter = EventCounter()
    assert counter.place(5) is EventPlace.NEXT  # a server that named no position
    assert counter.begin(Position("e", 3), None) is False
    assert counter.place(None) is EventPlace.NEXT
    assert counter.place(3) is EventPlace.SEEN
    assert counter.place(4) is EventPlace.NEXT
    assert counter.place(6) is EventPlace.GAP
    assert counter.position == Position("e", 4)
    assert counter.place(5) is EventPlace.NEXT


def test_a_client_learns_that_events_are_lost():
    counter = EventCounter()
    counter.begin(Position("e", 3), None)
    assert counter.begin(Position("e", 3), True) is False
    assert counter.begin(Position("e", 9), False) is True
    assert counter.position == Position("e", 9)
    assert counter.begin(Position("f", 2), None) is True  # nobody asked, and it goes on elsewhere
    assert counter.position == Position("f", 2)

"""What waits for a webhook's target: bounded in bytes and in events, the oldest go first, and that is counted."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from wsserver.webhooks.waiting import BATCH_BYTES, BATCH_EVENTS, EVENT_BYTES, EventQueue


def test_events_come_out_in_order_and_count_until_they_are_done():
    queue = EventQueue(10_000)
    assert [queue.put(b"%d" % number) for number in range(3)] == [0, 0, 0]
    assert queue.size == 3 * (1 + EVENT_BYTES)
    assert queue.take() == ([b"0", b"1", b"2"], 0)
    assert (len(queue), queue.size) == (3, 3 * (1 + EVENT_BYTES))
    queue.done()
    assert (len(queue), queue.size) == (0, 0)


def test_the_oldest_go_and_the_next_batch_says_how_many():
    queue = EventQueue(2 * (1 + EVENT_BYTES))
    assert [queue.put(b"%d" % number) for number in range(4)] == [0, 0, 1, 1]
    assert queue.take() == ([b"2", b"3"], 2)


def test_what_is_on_its_way_is_not_let_go_of_and_what_comes_meanwhile_is():
    queue = EventQueue(1 + EVENT_BYTES)
    queue.put(b"0")
    queue.take()
    assert queue.put(b"1") == 1
    queue.done()
    queue.put(b"2")
    assert queue.take() == ([b"2"], 1)


def test_a_batch_is_bounded_in_events_and_in_bytes():
    queue = EventQueue(100 * BATCH_BYTES)
    for _ in range(BATCH_EVENTS + 1):
        queue.put(b"x")
    assert queue.fills_batch
    assert len(queue.take().events) == BATCH_EVENTS
    queue.done()
    assert not queue.fills_batch
    for _ in range(3):
        queue.put(b"x" * (BATCH_BYTES // 2))
    assert queue.fills_batch
    assert len(queue.take().events) == 2


@given(
    st.lists(
        st.one_of(st.binary(max_size=200), st.just("take"), st.just("done")),
        max_size=60,
    ),
    st.integers(0, 1500),
    st.integers(1, 8),
)
def test_no_event_is_lost_without_being_counted_and_nothing_exceeds_its_bounds(steps, max_bytes, max_events):
    queue, model, taken = EventQueue(max_bytes, max_events), deque(), []
    put = received = dropped = told = 0
    for step in steps:
        if isinstance(step, bytes):
            put += 1
            model.append(step)
            gone = queue.put(step)
            for _ in range(gone):
                model.popleft()
            dropped += gone
        elif step == "take" and not taken and model:
            events, lost = queue.take()
            assert events == [model.popleft() for _ in events]
            taken, told = events, told + lost
        elif step == "done" and taken:
            received += len(taken)
            taken = []
            queue.done()
        assert queue.size <= max(max_bytes, 0)
        assert len(queue) == len(model) + len(taken) <= max_events
    assert put == received + len(queue) + dropped
    if not taken:
        assert queue.take().lost + told == dropped

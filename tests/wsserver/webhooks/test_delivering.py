"""Deliveries to a target that fails: again with longer and longer pauses, in order, the same request each time."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.testing.clock import MovableClock
from wsserver.webhooks.delivering import GIVE_UP_S, Deliverer
from wsserver.webhooks.exchange import BackendAnswer, PostError
from wsserver.webhooks.waiting import EventQueue


class SettledClock(MovableClock):
    """Lets what was begun come to its first wait, before it is moved."""

    async def advance(self, seconds):
        for _ in range(8):
            await asyncio.sleep(0)
        await super().advance(seconds)


class Target:
    """Takes what is posted, as `fate` says: a status, an exception, or a number of seconds that it hangs."""

    def __init__(self, clock):
        self.clock = clock
        self.posts = []
        self.fate = 200
        self.retry_after_s = 0

    async def post(self, message_id, body):
        self.posts.append((self.clock.now_s(), message_id, body))
        if isinstance(self.fate, Exception):
            raise self.fate
        if self.fate is None:
            await asyncio.Event().wait()
        return BackendAnswer(self.fate, b"", self.retry_after_s)


@pytest.fixture
async def clock():
    clock = SettledClock()
    yield clock
    clock.restore()


@pytest.fixture
async def world(clock):
    target, metrics = Target(clock), Metrics()
    deliverer = Deliverer(
        1,
        EventQueue(1 << 20),
        target.post,
        lambda batch: b"%d:%b" % (batch.lost, b",".join(batch.events)),
        now_s=clock.now_s,
        metrics=metrics,
        log=EventLog(),
    )
    deliverer.start()
    yield deliverer, target, metrics
    await deliverer.stop(0)


async def test_what_happens_within_a_moment_is_one_request(world, clock):
    deliverer, target, metrics = world
    for name in (b"a", b"b"):
        deliverer.put(name)
    await clock.advance(1)
    deliverer.put(b"c")
    await clock.advance(1)
    assert [body for _, _, body in target.posts] == [b"0:a,b", b"0:c"]
    assert len({message_id for _, message_id, _ in target.posts}) == 2
    assert metrics.value("wsctl_webhook_events_sent_total") == 3


@pytest.mark.parametrize("fate", [500, 429, 404, 301, 101, PostError("it cannot be reached")], ids=str)
async def test_a_failure_is_tried_again_with_pauses_that_grow_and_nothing_overtakes(world, clock, fate):
    deliverer, target, metrics = world
    target.fate = fate
    deliverer.put(b"a")
    await clock.advance(120)
    deliverer.put(b"b")
    assert {post[1:] for post in target.posts} == {target.posts[0][1:]}, "a retry is another request"
    pauses = [after[0] - before[0] for before, after in zip(target.posts, target.posts[1:], strict=False)]
    assert all(pause <= min(60, 0.5 * 2**attempt) + 0.2 for attempt, pause in enumerate(pauses))
    assert 5 <= len(pauses) <= 40
    assert metrics.value("wsctl_webhook_retries_total") == len(pauses)
    target.fate = 204
    await clock.advance(61)
    assert [body for _, _, body in target.posts][-2:] == [b"0:a", b"0:b"]
    assert metrics.value("wsctl_webhook_events_sent_total") == 2
    assert metrics.value("wsctl_webhook_events_dropped_total") == 0


async def test_what_is_never_taken_is_given_up_and_the_next_batch_says_so(world, clock):
    deliverer, target, metrics = world
    target.fate = 400
    deliverer.put(b"poison")
    await clock.advance(GIVE_UP_S - 1)
    assert metrics.value("wsctl_webhook_events_dropped_total") == 0
    await clock.advance(70)
    assert metrics.value("wsctl_webhook_events_dropped_total", reason="given-up") == 1
    target.fate = 200
    deliverer.put(b"good")
    await clock.advance(1)
    assert target.posts[-1][2] == b"1:good"


async def test_a_target_that_asks_for_a_pause_gets_it_and_no_endless_one(world, clock):
    deliverer, target, _ = world
    target.fate, target.retry_after_s = 503, 20
    deliverer.put(b"a")
    await clock.advance(19)
    assert len(target.posts) == 1
    target.retry_after_s = 99_999
    await clock.advance(3)
    assert len(target.posts) == 2
    await clock.advance(65)
    assert len(target.posts) == 3


async def test_the_end_sends_what_waits_at_once(world, clock):
    deliverer, target, metrics = world
    target.fate = 500
    deliverer.put(b"a")
    await clock.advance(100)
    target.fate = 200
    deliverer.put(b"b")
    before = len(target.posts)
    await asyncio.wait_for(deliverer.stop(5), 5)
    assert [body for _, _, body in target.posts[before:]] == [b"0:a", b"0:b"]
    assert metrics.value("wsctl_webhook_events_dropped_total") == 0


async def test_what_the_end_leaves_is_counted_and_told(world, clock, caplog):
    deliverer, target, metrics = world
    target.fate = None
    deliverer.put(b"a")
    await clock.advance(1)
    deliverer.put(b"b")
    stopping = asyncio.create_task(deliverer.stop(3))
    await clock.advance(4)
    await stopping
    assert metrics.value("wsctl_webhook_events_dropped_total", reason="shutdown") == 2
    fields = [record.fields for record in caplog.records if record.getMessage() == "webhook.dropped"]
    assert fields == [{"target": 1, "events": 2}]


async def test_a_flood_beside_a_target_that_is_down_is_told_about_once_a_minute(world, clock, caplog):
    deliverer, target, metrics = world
    target.fate = PostError("it cannot be reached")
    for round in range(3):
        for _ in range(30_000):
            deliverer.put(b"%d" % round + b"x" * 100)
        await clock.advance(61)
    told = [record.fields["events"] for record in caplog.records if record.getMessage() == "webhook.dropped"]
    assert 2 <= len(told) <= 4
    assert metrics.value("wsctl_webhook_events_dropped_total", reason="no-room") >= sum(told) > 10_000

"""What slow readers may cost: bytes each and in all, and time, by a fake clock."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wsserver.outbound.backlog import BURST_S, OUTBOX_BYTES, SLACK_BYTES, TICK_S, Backlog, OutboundLimits
from wsserver.outbound.outbox import CHUNK_BYTES, Outbox
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

LIMIT = 1 << 20
CAP = 8 << 20
AGE_S = 5.0


class SlowWriter:
    """Stands for an engine's side of a connection whose peer reads nothing."""

    def __init__(self, backlog: Backlog, *, is_limited: bool = True) -> None:
        self.outbox: Outbox = backlog.open(self, 0, is_limited=is_limited)
        self.aborted = False

    @property
    def closed(self) -> bool:
        return self.outbox.is_closing

    def too_slow(self) -> None:
        assert not self.outbox.is_closing, "it was closed twice"
        self.outbox.is_closing = True
        self.outbox.drop()

    def abort(self) -> None:
        self.aborted = True


class RecordingLog(EventLog):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[dict[str, object]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append({"event": event, **fields})


@pytest.fixture
def world():
    time = SimpleNamespace(s=100.0)
    timers: list = []
    metrics = Metrics()
    log = RecordingLog()
    backlog = Backlog(
        OutboundLimits(LIMIT, AGE_S, CAP),
        metrics,
        call_later=lambda delay_s, call: timers.append((time.s + delay_s, call)),
        now_s=lambda: time.s,
        log=log,
    )

    def pass_s(seconds: float, *, stalled: bool = False) -> None:
        """Let time pass with a loop that turns, or one that stands still until the end."""
        end_s = time.s + seconds
        while timers and timers[0][0] <= end_s:
            due_s, call = timers.pop(0)
            time.s = end_s if stalled else due_s
            call()
        time.s = end_s

    def broadcast(size: int, *writers: SlowWriter) -> None:
        chunk = backlog.chunk(bytes(size), turn=backlog.turn)
        for writer in writers:
            if not writer.closed:
                backlog.add(writer.outbox, chunk)

    def send(size: int, writer: SlowWriter, *, lossy: int = 0) -> bool:
        return backlog.add(writer.outbox, backlog.chunk(bytes(size), lossy=lossy))

    return SimpleNamespace(
        backlog=backlog,
        metrics=metrics,
        log=log,
        timers=timers,
        pass_s=pass_s,
        broadcast=broadcast,
        send=send,
        slow=lambda **options: SlowWriter(backlog, **options),
    )


def next_turn(world) -> None:
    world.backlog.turn += 1


def test_what_many_wait_for_counts_once_in_all_and_in_full_for_each(world):
    readers = [world.slow() for _ in range(50)]
    before = world.backlog.used
    world.broadcast(100_000, *readers)
    assert world.backlog.used - before == 100_000 + CHUNK_BYTES
    assert {reader.outbox.size for reader in readers} == {100_000 + CHUNK_BYTES}


def test_what_nobody_waits_for_any_more_counts_no_more(world):
    first, second = world.slow(), world.slow()
    world.broadcast(100_000, first, second)
    world.backlog.shut(first.outbox)
    world.backlog.shut(first.outbox)
    assert world.backlog.used == 100_000 + CHUNK_BYTES + OUTBOX_BYTES
    second.outbox.advance(60_000)
    assert second.outbox.size == 40_000 + CHUNK_BYTES
    second.outbox.advance(40_000)
    assert (second.outbox.size, second.outbox.is_empty) == (0, True)
    world.backlog.shut(second.outbox)
    assert world.backlog.used == 0


def test_over_the_limit_a_reader_is_closed_and_nobody_else(world):
    slow, other = world.slow(), world.slow()
    for _ in range(10):
        world.broadcast(100_000, slow, other)
        other.outbox.advance(100_000)
        next_turn(world)
    assert not slow.closed
    world.broadcast(100_000, slow, other)
    assert slow.closed
    assert not other.closed
    assert slow.outbox.is_empty


def test_one_message_larger_than_the_limit_may_wait_alone(world):
    reader = world.slow()
    assert world.send(3 * LIMIT, reader)
    next_turn(world)
    assert world.send(100, reader), "a heartbeat finds no room behind a large message that is being read"
    assert not reader.closed
    world.broadcast(2 * SLACK_BYTES, reader)
    assert reader.closed


def test_a_burst_of_one_turn_is_given_the_time_to_be_read(world):
    reader = world.slow()
    for _ in range(6):
        world.broadcast(LIMIT, reader)
    assert not reader.closed
    next_turn(world)
    world.send(1000, reader)
    for _ in range(20):
        world.pass_s(TICK_S)
        if not reader.outbox.is_empty:
            reader.outbox.advance(LIMIT // 2)
            reader.outbox.since_s += TICK_S
    assert not reader.closed


def test_a_burst_that_nobody_reads_is_closed_soon(world):
    reader = world.slow()
    for _ in range(6):
        world.broadcast(LIMIT, reader)
    world.pass_s(BURST_S)
    assert not reader.closed
    world.pass_s(TICK_S)
    assert reader.closed


def test_a_burst_that_grows_in_the_next_turn_is_closed_at_once(world):
    reader = world.slow()
    for _ in range(6):
        world.broadcast(LIMIT, reader)
    next_turn(world)
    world.broadcast(LIMIT, reader)
    assert reader.closed


def test_a_burst_excuses_nothing_that_one_connection_alone_gets(world):
    reader = world.slow()
    world.broadcast(100, reader)
    sent = 0
    while not reader.closed:
        world.send(100_000, reader)
        sent += 1
        assert sent <= LIMIT // 100_000 + 1, "it may ask for as much as it likes in one turn"


def test_time_alone_closes_a_reader_to_whom_nothing_more_is_sent(world):
    reader = world.slow()
    world.broadcast(100, reader)
    world.pass_s(AGE_S - TICK_S)
    assert not reader.closed
    world.pass_s(2 * TICK_S)
    assert reader.closed


def test_a_transport_that_holds_the_last_bytes_for_too_long_counts_as_a_slow_reader(world):
    reader = world.slow()
    world.pass_s(AGE_S + 2 * TICK_S)
    assert reader.closed


def test_a_loop_that_stood_still_leaves_its_readers_one_tick_to_read(world):
    patient, slow = world.slow(), world.slow()
    world.broadcast(100, patient, slow)
    world.pass_s(2 * AGE_S, stalled=True)
    assert not slow.closed
    world.backlog.shut(patient.outbox)
    world.pass_s(2 * TICK_S)
    assert slow.closed
    assert not patient.closed


def test_the_timer_runs_only_while_something_waits(world):
    assert world.timers == []
    reader = world.slow()
    world.slow()
    assert len(world.timers) == 1
    world.pass_s(TICK_S)
    assert len(world.timers) == 1
    for outbox in tuple(world.backlog._outboxes):
        world.backlog.shut(outbox)
    world.pass_s(TICK_S)
    assert world.timers == []
    assert not reader.closed


def test_over_the_limit_lossy_messages_are_dropped_and_counted_instead(world):
    reader = world.slow()
    for _ in range(10):
        world.send(100_000, reader)
        next_turn(world)
    assert world.send(100_000, reader, lossy=3) is False
    assert not reader.closed
    assert world.metrics.dropped["slow-reader"].value == 3


def test_lossy_messages_make_room_for_one_that_may_not_be_missed(world):
    reader = world.slow()
    for _ in range(10):
        assert world.send(100_000, reader, lossy=1)
    reader.outbox.advance(1)
    next_turn(world)
    assert world.send(100_000, reader)
    assert not reader.closed
    assert world.metrics.dropped["slow-reader"].value == 9, "all but the one that has begun to go out"


def test_lossy_messages_that_are_too_old_are_dropped_and_their_reader_stays(world):
    reader = world.slow()
    world.send(100, reader, lossy=1)
    reader.outbox.advance(50)
    reader.outbox.front_is_lossy = True
    world.send(100, reader, lossy=2)
    world.pass_s(3)
    world.send(100, reader, lossy=4)
    world.pass_s(AGE_S - 3 + 2 * TICK_S)
    assert not reader.closed
    assert world.metrics.dropped["slow-reader"].value == 2
    world.send(100, reader)
    world.pass_s(AGE_S + 2 * TICK_S)
    assert reader.closed


def test_over_the_limit_on_all_the_worst_readers_go_first(world):
    readers = [world.slow() for _ in range(20)]
    for number, reader in enumerate(readers):
        world.send(100_000 + 40_000 * number, reader)
        assert world.backlog.used <= CAP
    assert [reader.closed for reader in readers] == sorted(reader.closed for reader in readers)
    assert 0 < sum(reader.closed for reader in readers) < 10
    assert not any(reader.aborted for reader in readers)
    [warning] = world.log.warnings
    assert (warning["event"], warning["closed"]) == ("outbound.full", 1)
    assert warning["used"] > CAP


def test_of_readers_with_as_much_to_read_the_one_that_stands_longest_goes_first(world):
    first = world.slow()
    world.pass_s(TICK_S)
    second = world.slow()
    for _ in range(CAP // LIMIT):
        world.broadcast(LIMIT, first, second)
    assert first.closed


def test_of_those_that_are_closing_nothing_is_kept_where_memory_is_short(world):
    half_written = [world.slow() for _ in range(12)]
    for reader in half_written:
        world.backlog.add(reader.outbox, world.backlog.chunk(bytes(LIMIT)), 1)
        assert world.backlog.used <= CAP
    assert 4 <= sum(reader.aborted for reader in half_written) <= 6, "more than need be"
    assert not any(reader.closed and not reader.aborted for reader in half_written)


def test_a_peer_that_is_held_back_counts_towards_all_only(world):
    held_back, worst = world.slow(is_limited=False), world.slow()
    for _ in range(3):
        world.send(LIMIT, held_back)
    world.pass_s(AGE_S + 2 * TICK_S)
    assert not held_back.closed
    assert worst.closed
    for _ in range(6):
        if not held_back.closed:
            world.send(LIMIT, held_back)
    assert held_back.closed


def test_it_knows_how_much_it_has_let_go_since_the_peak(world):
    readers = [world.slow() for _ in range(3)]
    for reader in readers:
        world.send(2 << 20, reader)
    peak = world.backlog.used
    world.backlog.shut(readers[0].outbox)
    world.backlog.shut(readers[1].outbox)
    assert 4 << 20 <= world.backlog.fallen == peak - world.backlog.used
    world.backlog.settle()
    assert world.backlog.fallen == 0

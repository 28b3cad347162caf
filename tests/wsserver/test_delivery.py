"""Fan-out: one write a turn for each connection, in order, and shared where it has to wait."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wscore.disconnects import HEARTBEAT_TIMEOUT, SLOW_CONSUMER, Disconnect
from wscore.envelope import MessageProtocol
from wscore.frames import text_frame
from wscore.principal import Principal
from wsserver.brokers.base import ROOM, SESSION
from wsserver.brokers.memory import MemoryBroker
from wsserver.connections.delivery import GATHER_BYTES, OWN_BYTES, PIECE_BYTES, Delivery
from wsserver.connections.groups import Groups
from wsserver.connections.state import Connection, Group
from wsserver.outbound.backlog import Backlog, OutboundLimits
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics


class RecordingChannel:
    """Stands for a socket whose peer reads `room` bytes."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.room = 1 << 30
        self.kept: list = []
        self.left: list[int] = []
        self.closed: Disconnect | None = None

    def send_text(self, payload: bytes) -> None:
        self.writes.append(text_frame(payload))

    def write(self, frames: bytes) -> int:
        taken = min(self.room, len(frames))
        self.room -= taken
        if taken:
            self.writes.append(frames[:taken])
        return len(frames) - taken

    def keep(self, chunks, left: int) -> bool:
        self.kept += chunks
        self.left.append(left)
        return True

    def close(self, disconnect: Disconnect) -> None:
        self.closed = disconnect


@pytest.fixture
def room():
    turn: list = []
    metrics = Metrics()
    backlog = Backlog(
        OutboundLimits(), metrics, call_later=lambda delay_s, call: None, now_s=lambda: 7.0, log=EventLog()
    )
    groups = Groups(MemoryBroker())
    delivery = Delivery(groups, backlog, MessageProtocol(lambda: 1), metrics, call_soon=turn.append)
    session = Group(SESSION, "room")

    def join(name: str) -> Connection:
        connection = Connection(name, Principal(name, True, 0), session, RecordingChannel(), created_at_ms=0, now_s=0)
        groups.join(session, connection)
        return connection

    def end_turn() -> None:
        calls, turn[:] = list(turn), []
        for call in calls:
            call()

    return SimpleNamespace(delivery=delivery, session=session, join=join, end_turn=end_turn, metrics=metrics)


def frames(*payloads: bytes) -> bytes:
    return b"".join(map(text_frame, payloads))


def test_a_turns_broadcasts_become_one_write_for_each_connection(room):
    a, b = room.join("a"), room.join("b")
    for text in (b"1", b"2", b"3"):
        room.delivery.broadcast(room.session, text)
    assert a.channel.writes == []
    room.end_turn()
    assert a.channel.writes == b.channel.writes == [frames(b"1", b"2", b"3")]


def test_a_private_message_keeps_its_place_among_broadcasts(room):
    a, b = room.join("a"), room.join("b")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.send(a, b"private")
    room.delivery.broadcast(room.session, b"2")
    room.delivery.send(a, b"last")
    room.end_turn()
    assert a.channel.writes == [frames(b"1", b"private", b"2", b"last")]
    assert b.channel.writes == [frames(b"1", b"2")]


def test_who_joins_within_a_turn_gets_nothing_from_before(room):
    a = room.join("a")
    room.delivery.broadcast(room.session, b"old")
    room.delivery.flush(room.session)
    b = room.join("b")
    room.delivery.broadcast(room.session, b"new")
    room.end_turn()
    assert a.channel.writes == [frames(b"old"), frames(b"new")]
    assert b.channel.writes == [frames(b"new")]


def test_a_close_lets_out_what_was_sent_before_it(room):
    a = room.join("a")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.close(a, HEARTBEAT_TIMEOUT)
    assert a.channel.writes == [frames(b"1")]
    assert a.channel.closed is HEARTBEAT_TIMEOUT
    assert room.delivery.send(a, b"late") is False


def test_a_slow_reader_is_closed_once_without_what_waits(room):
    a = room.join("a")
    room.delivery.close_slow(a)
    room.delivery.close_slow(a)
    assert a.channel.closed is SLOW_CONSUMER


def test_what_gathers_is_bounded_in_bytes_not_in_messages_over_all_sessions(room):
    a = room.join("a")
    elsewhere = Group(SESSION, "elsewhere")
    large = b"x" * (GATHER_BYTES // 4)
    for _ in range(2):
        room.delivery.broadcast(room.session, large)
        room.delivery.broadcast(elsewhere, large)
    assert sum(map(len, a.channel.writes)) == 2 * len(text_frame(large)), "it was not written ahead of time"
    room.delivery.broadcast(room.session, b"small")
    room.end_turn()
    assert a.channel.writes[-1] == frames(b"small")


def test_private_messages_count_towards_what_gathers(room):
    a = room.join("a")
    room.delivery.broadcast(room.session, b"1")
    for _ in range(4):
        room.delivery.send(a, b"x" * (GATHER_BYTES // 4))
    assert len(a.channel.writes) == 1


def test_what_one_turn_leaves_waits_once_for_all_who_do_not_take_it(room):
    slow, stuck, quick = room.join("slow"), room.join("stuck"), room.join("quick")
    slow.channel.room, stuck.channel.room = 3, 0
    room.delivery.broadcast(room.session, b"1")
    room.delivery.broadcast(room.session, b"2")
    room.end_turn()
    [shared] = slow.channel.kept
    assert stuck.channel.kept == [shared]
    assert quick.channel.kept == []
    assert shared.data == frames(b"1", b"2") == quick.channel.writes[0]
    assert (slow.channel.left, stuck.channel.left) == ([len(shared.data) - 3], [len(shared.data)])


def test_a_large_batch_waits_in_pieces_of_whole_frames(room):
    stuck = room.join("stuck")
    stuck.channel.room = 0
    payloads = [b"%d" % number * (PIECE_BYTES // 3 + 1) for number in range(7)]
    for payload in payloads:
        room.delivery.broadcast(room.session, payload)
    room.end_turn()
    pieces = [chunk.data for chunk in stuck.channel.kept]
    assert pieces == [frames(*payloads[:3]), frames(*payloads[3:6]), frames(*payloads[6:])]


def test_what_may_be_missed_waits_apart_from_what_may_not(room):
    stuck, other = room.join("stuck"), room.join("other")
    stuck.channel.room = other.channel.room = 0
    room.delivery.broadcast(room.session, b"0")
    room.delivery.broadcast(room.session, b"1", lossy=True)
    room.delivery.send(stuck, b"p", lossy=True)
    room.delivery.send(stuck, b"q")
    room.delivery.broadcast(room.session, b"2", lossy=True)
    room.delivery.broadcast(room.session, b"3")
    room.end_turn()
    assert [(chunk.data, chunk.lossy) for chunk in other.channel.kept] == [
        (frames(b"0"), 0),
        (frames(b"1", b"2"), 2),
        (frames(b"3"), 0),
    ]
    assert [(chunk.data, chunk.lossy) for chunk in stuck.channel.kept] == [
        (frames(b"0"), 0),
        (frames(b"1", b"p"), 2),
        (frames(b"q"), 0),
        (frames(b"2"), 1),
        (frames(b"3"), 0),
    ]


@pytest.mark.parametrize(("size", "counts_as_broadcast"), [(100, True), (OWN_BYTES + 1, False)])
def test_a_broadcast_with_large_replies_in_it_waits_as_one_connections_own(room, size, counts_as_broadcast):
    stuck = room.join("stuck")
    stuck.channel.room = 0
    room.delivery.broadcast(room.session, b"1")
    room.delivery.send(stuck, b"x" * size)
    room.end_turn()
    [chunk] = stuck.channel.kept
    assert (chunk.turn > 0) is counts_as_broadcast


def test_a_lossy_message_to_one_waits_as_such(room):
    stuck = room.join("stuck")
    stuck.channel.room = 0
    assert room.delivery.send(stuck, b"audio", lossy=True)
    [chunk] = stuck.channel.kept
    assert (chunk.data, chunk.lossy, chunk.turn) == (frames(b"audio"), 1, 0)


def test_who_is_left_out_gets_everything_else_of_a_turn_in_one_write(room):
    a, b = room.join("a"), room.join("b")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.send(a, b"private")
    room.delivery.broadcast(room.session, b"not for a", except_connection="a")
    room.delivery.broadcast(room.session, b"3", lossy=True)
    room.delivery.broadcast(room.session, b"not for b", except_connection="b")
    room.delivery.broadcast(room.session, b"for all", except_connection="nobody here")
    room.end_turn()
    assert a.channel.writes == [frames(b"1", b"private", b"3", b"not for b", b"for all")]
    assert b.channel.writes == [frames(b"1", b"not for a", b"3", b"for all")]
    room.delivery.broadcast(room.session, b"next")
    room.end_turn()
    assert a.channel.writes[1:] == b.channel.writes[1:] == [frames(b"next")]


def test_who_is_left_out_of_all_that_there_is_gets_no_write(room):
    a, b = room.join("a"), room.join("b")
    room.delivery.broadcast(room.session, b"1", except_connection="a")
    room.end_turn()
    assert a.channel.writes == []
    assert b.channel.writes == [frames(b"1")]
    assert room.metrics.delivered.value == 1


def test_a_slow_reader_that_is_left_out_of_some_misses_only_what_is_lossy(room):
    a = room.join("a")
    a.channel.room = 0
    room.delivery.broadcast(room.session, b"1")
    room.delivery.broadcast(room.session, b"not for a", except_connection="a")
    room.delivery.broadcast(room.session, b"lossy", lossy=True)
    room.delivery.broadcast(room.session, b"2")
    room.end_turn()
    assert [(bytes(chunk.data), chunk.lossy) for chunk in a.channel.kept] == [
        (frames(b"1"), 0),
        (frames(b"lossy"), 1),
        (frames(b"2"), 0),
    ]


def test_a_private_message_keeps_its_place_in_its_own_session_and_no_room_loses_it(room):
    a, b = room.join("a"), room.join("b")
    kitchen = Group(ROOM, "kitchen")
    for connection in (a, b):
        kitchen.members[connection.id] = connection
    room.delivery.broadcast(kitchen, b"k1")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.send(a, b"private")
    room.delivery.broadcast(kitchen, b"k2")
    room.delivery.broadcast(room.session, b"2")
    room.end_turn()
    assert a.channel.writes == [frames(b"k1", b"k2"), frames(b"1", b"private", b"2")]
    assert b.channel.writes == [frames(b"k1", b"k2"), frames(b"1", b"2")]


def test_a_batch_gets_its_seqs_whatever_comes_between(room):
    member = room.join("ada")
    plain, numbered = b'{"n":0}', b'{"n":1}'
    seqs = (7, 8, None, 9, 12)  # as after a lossy one, and after a gap
    for seq in seqs:
        room.delivery.broadcast(room.session, plain if seq is None else numbered, seq=seq)
    room.end_turn()
    room.delivery.broadcast(room.session, plain)
    room.delivery.broadcast(room.session, numbered, seq=13)
    room.end_turn()
    first = [plain if seq is None else b'{"n":1,"seq":%d}' % seq for seq in seqs]
    assert member.channel.writes == [frames(*first), frames(plain, b'{"n":1,"seq":13}')]


def test_who_has_a_message_of_its_own_or_is_left_out_or_reads_slowly_sees_the_same_seqs(room):
    usual, private, left_out, slow = (room.join(name) for name in ("usual", "private", "left-out", "slow"))
    slow.channel.room = 10
    room.delivery.broadcast(room.session, b'{"n":1}', seq=1)
    room.delivery.send(private, b"mine")
    room.delivery.broadcast(room.session, b'{"n":2}', except_connection="left-out", seq=2)
    room.end_turn()
    both = b'{"n":1,"seq":1}', b'{"n":2,"seq":2}'
    assert usual.channel.writes == [frames(*both)]
    assert private.channel.writes == [frames(both[0], b"mine", both[1])]
    assert left_out.channel.writes[0].startswith(frames(both[0]))
    assert b"skipped" in left_out.channel.writes[0]
    assert b'"n":2' not in left_out.channel.writes[0]
    assert slow.channel.left == [len(frames(*both)) - 10]
    assert b"".join(chunk.data for chunk in slow.channel.kept) == frames(*both)

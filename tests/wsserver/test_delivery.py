"""Fan-out and backpressure: what a slow reader costs, and that nobody else notices."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest

from wscore.frames import text_frame
from wscore.principal import Principal
from wsserver.connections import Connection, Session
from wsserver.counters import Counters
from wsserver.delivery import Delivery, OutboundLimits

HANG_S = 20


class RecordingChannel:
    """Stands for a socket whose peer reads or does not."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.buffered = 0
        self.closed: tuple[int, str] | None = None

    def send_text(self, payload: bytes) -> None:
        self.writes.append(text_frame(payload))

    def send_frames(self, frames: bytes, payloads) -> None:
        assert frames == b"".join(map(text_frame, payloads))
        self.writes.append(frames)

    def buffered_bytes(self) -> int:
        return self.buffered

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


@pytest.fixture
def room():
    time = SimpleNamespace(s=0.0)
    turn: list = []
    counters = Counters()
    delivery = Delivery(OutboundLimits(1000, 5), counters, call_soon=turn.append, now_s=lambda: time.s)
    session = Session("room")

    def join(name: str) -> Connection:
        connection = Connection(name, Principal(name, True, 0), session, RecordingChannel(), created_at_ms=0, now_s=0)
        session.connections[name] = connection
        return connection

    def end_turn() -> None:
        calls, turn[:] = list(turn), []
        for call in calls:
            call()

    return SimpleNamespace(
        delivery=delivery, session=session, join=join, end_turn=end_turn, time=time, counters=counters
    )


def test_a_turns_broadcasts_become_one_write_for_each_connection(room):
    a, b = room.join("a"), room.join("b")
    for text in (b"1", b"2", b"3"):
        room.delivery.broadcast(room.session, text)
    assert a.channel.writes == []
    room.end_turn()
    expected = text_frame(b"1") + text_frame(b"2") + text_frame(b"3")
    assert a.channel.writes == b.channel.writes == [expected]


def test_a_private_message_keeps_its_place_among_broadcasts(room):
    a, b = room.join("a"), room.join("b")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.send(a, b"private")
    room.delivery.broadcast(room.session, b"2")
    room.delivery.send(a, b"last")
    room.end_turn()
    assert a.channel.writes == [b"".join(map(text_frame, (b"1", b"private", b"2", b"last")))]
    assert b.channel.writes == [text_frame(b"1") + text_frame(b"2")]


def test_who_joins_within_a_turn_gets_nothing_from_before(room):
    a = room.join("a")
    room.delivery.broadcast(room.session, b"old")
    room.delivery.flush(room.session)
    b = room.join("b")
    room.delivery.broadcast(room.session, b"new")
    room.end_turn()
    assert a.channel.writes == [text_frame(b"old"), text_frame(b"new")]
    assert b.channel.writes == [text_frame(b"new")]


def test_a_close_lets_out_what_was_sent_before_it(room):
    a = room.join("a")
    room.delivery.broadcast(room.session, b"1")
    room.delivery.close(a, 4004, "kicked")
    assert a.channel.writes == [text_frame(b"1")]
    assert a.channel.closed == (4004, "kicked")
    assert room.delivery.send(a, b"late") is False


def test_a_paused_reader_below_its_limits_still_gets_everything(room):
    slow = room.join("slow")
    slow.paused_at_s = 0.0
    slow.channel.buffered = 900
    room.delivery.broadcast(room.session, b"1")
    room.end_turn()
    assert slow.channel.writes == [text_frame(b"1")]


def test_over_the_byte_limit_the_slow_reader_is_closed_with_4003_and_nobody_else(room):
    slow, quick = room.join("slow"), room.join("quick")
    slow.paused_at_s = 0.0
    slow.channel.buffered = 1000
    room.delivery.broadcast(room.session, b"1")
    room.end_turn()
    assert slow.channel.closed == (4003, "Outbound limit passed")
    assert slow.channel.writes == []
    assert quick.channel.writes == [text_frame(b"1")]
    assert room.counters.slow_consumers == 1


def test_over_the_age_limit_the_slow_reader_is_closed_with_4003(room):
    slow = room.join("slow")
    slow.paused_at_s = 0.0
    room.time.s = 5.1
    assert room.delivery.send(slow, b"1") is False
    assert slow.channel.closed == (4003, "Outbound limit passed")


def test_lossy_messages_are_dropped_and_counted_instead(room):
    slow = room.join("slow")
    slow.paused_at_s = 0.0
    slow.channel.buffered = 1000
    room.delivery.broadcast(room.session, b"audio", lossy=True)
    room.end_turn()
    assert room.delivery.send(slow, b"audio", lossy=True) is False
    assert slow.channel.closed is None
    assert slow.channel.writes == []
    assert room.counters.messages_dropped == 2


async def test_a_reader_that_stands_still_is_closed_while_its_neighbour_gets_everything(start_server, open_raw, engine):
    server = await start_server(engine=engine, outbound=OutboundLimits(256 << 10, 60))
    slow = await open_raw(server.url, session="room")
    quick = await open_raw(server.url, session="room", max_queue=None)
    slow.ws.transport.pause_reading()
    payload, received = "x" * 60_000, 0
    while server.counters.slow_consumers == 0:
        for _ in range(10):
            server.hub.broadcast("room", "news", payload)
        for _ in range(10):
            assert (await quick.receive())["data"] == payload
            received += 1
        assert received < 5000, "a stalled reader was never noticed"
    slow.ws.transport.resume_reading()
    assert await asyncio.wait_for(slow.close_code(), HANG_S) == 4003
    await quick.send("ping")
    assert (await quick.receive())["type"] == "pong"


def read_now(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("private_first", [True, False])
async def test_what_waits_for_a_slow_reader_is_not_overtaken(start_server, open_raw, engine, private_first):
    """Broadcasts may be written past the transport: never while something still waits in it."""
    server = await start_server(engine=engine, outbound=OutboundLimits(64 << 20, 60))
    slow = await open_raw(server.url, session="room")
    (connection,) = server.connections.all()
    channel, sent, raw = connection.channel, 0, b""

    def send(private: bool) -> None:
        nonlocal sent
        payload = b"%07d " % sent + b"x" * 50_000
        if private:
            channel.send_text(payload)
        else:
            channel.send_frames(text_frame(payload), [payload])
        sent += 1

    slow.ws.transport.pause_reading()
    peer = slow.ws.transport.get_extra_info("socket").fileno()
    send(private=False)  # reaches the socket itself, as nothing waits yet
    while channel.buffered_bytes() < 1 << 20:
        send(private=private_first)
        assert sent < 2000, "nothing ever waited"
    for n in range(100):
        # There is room again, and the loop had no turn in which it could fill it.
        raw += read_now(peer)
        send(private=n % 3 == 2)
        if n % 10 == 9:
            await asyncio.sleep(0)
    frame_bytes = len(text_frame(b"x" * 50_008))
    while len(raw) < sent * frame_bytes:
        raw += read_now(peer)
        await asyncio.sleep(0)
    slow.ws.transport.abort()
    frames = [raw[start : start + frame_bytes] for start in range(0, len(raw), frame_bytes)]
    assert frames == [text_frame(b"%07d " % n + b"x" * 50_000) for n in range(sent)]
    assert channel.buffered_bytes() == 0

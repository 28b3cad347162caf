"""What the terminal client keeps of a long or a loud conversation: bounded in rows, in bytes and in types."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from wsclient.dialling import read_envelope
from wsclient.recording import Record
from wsclient.tui.model.ring import DEFAULT_LIMIT_BYTES, MAX_TYPES, OTHER_TYPES, MessageRing


def record(text: str, type: str = "message", at_ms: int = 1) -> Record:
    frame = json.dumps({"type": type, "timestamp": 1, "data": text})
    return Record(at_ms, False, frame, read_envelope(frame))


def test_messages_of_a_megabyte_are_bounded_by_their_bytes():
    tracemalloc.start()
    try:
        ring = MessageRing()
        for _ in range(400):
            ring.add_record(record("x" * (1 << 20)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < DEFAULT_LIMIT_BYTES * 1.1
    assert ring.size_bytes <= DEFAULT_LIMIT_BYTES
    assert ring.count == 400
    assert ring.forgotten == 400 - len(ring) > 300
    assert ring.get(ring.first - 1) is None
    assert ring.get(399).size_bytes > 1 << 20


def test_what_small_messages_take_is_about_what_is_counted():
    tracemalloc.start()
    try:
        ring = MessageRing(5000)
        for number in range(10_000):
            ring.add_record(record(f"{number:080}", at_ms=1_700_000_000_000 + number))
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ring.size_bytes / 1.5 < taken_bytes < ring.size_bytes * 1.5
    assert [ring.get(number).number for number in range(ring.first, ring.count)] == list(range(5000, 10_000))


@pytest.mark.parametrize("limit_bytes", [1, 5000, 20_000, None])
def test_what_is_kept_is_the_newest_without_a_hole(limit_bytes):
    ring = MessageRing(20, limit_bytes)
    for number in range(100):
        ring.add_record(record("x" * (number * 37 % 400)))
        kept = [ring.get(kept).number for kept in range(ring.first, ring.count)]
        assert kept == list(range(ring.first, number + 1))
        assert len(kept) <= 20
        assert ring.size_bytes == sum(ring.get(kept).memory_bytes for kept in range(ring.first, ring.count))
        assert len(kept) == 1 or limit_bytes is None or ring.size_bytes <= limit_bytes


def test_types_that_a_server_makes_up_are_counted_together_beyond_a_thousand():
    ring = MessageRing(10)
    for number in range(MAX_TYPES + 50):
        ring.add_record(record("x" * 5000, f"t.{number}"))
    assert len(ring.counts) == len(ring.latest) == MAX_TYPES + 1
    assert ring.counts[OTHER_TYPES] == 50
    assert ring.latest["t.0"].size_bytes < 1000
    assert ring.latest["t.0"].type == "t.0"


async def test_health_says_how_much_is_kept_and_what_is_forgotten(server, peer, open_terminal):
    async with open_terminal(server.url, ring_limit=10) as terminal:
        for number in range(30):
            await peer.send(number)
        await terminal.press("f2")
        await terminal.shows("kept     10 rows", "older ones are forgotten")

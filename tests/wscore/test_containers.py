"""Which container bytes begin: a stream without a header is known by two frames, and samples are taken for none."""

from __future__ import annotations

import math
import random
from array import array

import pytest

from wscore.containers import container_of

# The heads of frames that ffmpeg wrote, each filled up to the length that it announces.
MP3 = bytes.fromhex("fffb9064").ljust(417, b"\x55")  # 128 kbit/s at 44.1 kHz
MP3_SLOW = bytes.fromhex("fff338c4").ljust(108, b"\x55")  # 24 kbit/s at 16 kHz
AAC = bytes.fromhex("fff16040413ffc").ljust(521, b"\x55")


@pytest.mark.parametrize(("name", "frame"), [("MP3", MP3), ("MP3", MP3_SLOW), ("AAC", AAC)])
def test_a_stream_without_a_header_is_known_by_its_second_frame(name, frame):
    assert container_of(frame + frame[:6]) == name
    assert container_of(frame) is None
    assert container_of(frame + bytes(6)) is None


@pytest.mark.parametrize("head", ["fffb0064", "fffbf064", "fffb9c64", "ffeb9064", "ffffffff", "fff1604000000000"])
def test_a_head_that_no_frame_has_begins_none(head):
    frame = bytes.fromhex(head)
    assert container_of(frame * 600) is None


def test_samples_are_taken_for_no_container():
    chance = random.Random(1)
    noise = (array("h", (round(chance.gauss(0, 300)) for _ in range(1_600))).tobytes() for _ in range(300))
    hum = (array("h", (round(size * math.sin(n / 9)) for n in range(1_600))).tobytes() for size in range(1, 60))
    constant = (bytes([low, high]) * 1_600 for low in (0, 0xFB, 0xF3, 0xF1, 0xFF) for high in (0, 0xFF, 0xFE))
    assert {container_of(audio) for audio in (*noise, *hum, *constant)} == {None}


def test_no_bytes_are_too_few():
    assert container_of(b"") is None
    assert {container_of(MP3[:size]) for size in range(len(MP3))} == {None}

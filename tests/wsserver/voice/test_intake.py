"""From `audio_chunk` messages to audio: order, gaps, doubles, formats, and what cannot be taken."""

from __future__ import annotations

import base64
import itertools
import math
import random
from array import array

import pytest

from wscore.audio import SAMPLE_RATES_HZ, AudioFormat, Encoding
from wscore.codes import ErrorCode
from wscore.payloads import AudioChunk, AudioStart
from wscore.samples import pcm16_to_mulaw
from wsserver.voice.intake import LATE_CHUNKS, Intake, IntakeError, NewSegment
from wsserver.voice.resampling import Encoder

CHUNK_BYTES = 3_200  # 100 ms


def chunk(number: int, audio: bytes | None = None) -> AudioChunk:
    content = bytes([number % 251 + 1]) * CHUNK_BYTES if audio is None else audio
    return AudioChunk(base64.b64encode(content).decode(), number)


def sine(duration_ms: int, rate_hz: int, channels: int = 1, hz: float = 440) -> bytes:
    samples = (round(8_000 * math.sin(2 * math.pi * hz * n / rate_hz)) for n in range(rate_hz * duration_ms // 1000))
    return array("h", (sample for sample in samples for _ in range(channels))).tobytes()


def loudness(pcm: bytes) -> float:
    samples = array("h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def crossings(pcm: bytes) -> int:
    samples = array("h", pcm)
    return sum(1 for before, after in itertools.pairwise(samples) if before < 0 <= after)


def test_chunks_of_the_default_format_pass_as_they_are():
    intake = Intake()
    assert intake.chunk(chunk(7)) + intake.chunk(chunk(8)) == [bytes([8]) * CHUNK_BYTES, bytes([9]) * CHUNK_BYTES]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_gap_of_up_to_200_ms_is_filled_with_silence(missing):
    intake = Intake()
    intake.chunk(chunk(0))
    silence, audio = intake.chunk(chunk(1 + missing))
    assert silence == bytes(missing * CHUNK_BYTES)
    assert audio == bytes([2 + missing]) * CHUNK_BYTES


def test_a_longer_gap_begins_a_new_segment():
    intake = Intake()
    intake.chunk(chunk(0))
    assert intake.chunk(chunk(4)) == [NewSegment(), bytes([5]) * CHUNK_BYTES]


def heard(parts: list[bytes | NewSegment]) -> bytes:
    return b"".join(part for part in parts if isinstance(part, bytes))


@pytest.mark.parametrize("number", [0, 2, 4])
def test_doubled_and_late_chunks_of_a_turn_are_dropped_and_told(number):
    intake = Intake()
    for known in (0, 1, 2, 4, 5):  # 3 is missing
        intake.chunk(chunk(known))
    with pytest.raises(IntakeError, match=f"^chunk {number}: .*came twice.*6 is next") as caught:
        intake.chunk(chunk(number), in_turn=True)
    assert caught.value.code is ErrorCode.INVALID_AUDIO
    with pytest.raises(IntakeError, match=r"^chunk 3: .*came too late.*6 is next"):
        intake.chunk(chunk(3), in_turn=True)
    assert intake.chunk(chunk(6), in_turn=True) == [bytes([7]) * CHUNK_BYTES]


@pytest.mark.parametrize("length", [1, LATE_CHUNKS, LATE_CHUNKS + 1])
def test_numbers_that_begin_anew_outside_a_turn_are_heard_even_when_the_audio_is_the_same(length):
    intake = Intake()
    for _ in range(2):
        assert [heard(intake.chunk(chunk(5 + at), in_turn=False)) for at in range(length)] == [
            bytes([(5 + at) % 251 + 1]) * CHUNK_BYTES for at in range(length)
        ]


@pytest.mark.parametrize("length", [1, LATE_CHUNKS, LATE_CHUNKS + 1])
def test_other_audio_under_known_numbers_is_heard_in_mid_turn_too(length):
    intake = Intake()
    for number in range(length):
        intake.chunk(chunk(number), in_turn=True)
    other = [chunk(number, bytes([number, 255]) * (CHUNK_BYTES // 2)) for number in range(length)]
    again = b"".join(heard(intake.chunk(item, in_turn=True)) for item in other)
    assert again == b"".join(base64.b64decode(item.audio_data) for item in other)


def test_after_the_end_of_a_turn_any_number_begins():
    intake = Intake()
    intake.chunk(chunk(LATE_CHUNKS + 10))
    intake.end()
    for _ in range(2):
        assert intake.chunk(chunk(0)) == [bytes([1]) * CHUNK_BYTES]
        intake.end()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("%%%", "base64"),
        ("AAA", "base64"),
        ("AA==\n", "base64"),
        ("ä", "ASCII"),
        ("AA==", "1 bytes are no whole pcm16"),
    ],
    ids=["alphabet", "padding", "line break", "not ASCII", "half a sample"],
)
def test_audio_that_cannot_be_read_is_an_error_that_names_the_chunk_and_counts_as_a_gap(data, problem):
    intake = Intake()
    intake.chunk(chunk(0))
    with pytest.raises(IntakeError, match=problem) as caught:
        intake.chunk(AudioChunk(data, 1))
    assert caught.value.code is ErrorCode.INVALID_AUDIO
    assert "chunk 1" in str(caught.value)
    assert intake.chunk(chunk(2)) == [bytes(CHUNK_BYTES), bytes([3]) * CHUNK_BYTES]


@pytest.mark.parametrize(
    ("start", "field"),
    [(AudioStart("opus"), "encoding"), (AudioStart(sample_rate=1), "sampleRate"), (AudioStart(channels=6), "channels")],
)
def test_a_format_that_is_not_supported_leaves_the_one_before(start, field):
    intake = Intake()
    intake.start(AudioStart("mulaw", 8_000))
    with pytest.raises(IntakeError, match=field) as caught:
        intake.start(start)
    assert caught.value.code is ErrorCode.UNSUPPORTED_FORMAT
    assert intake.answer_format == AudioFormat(Encoding.MULAW, 8_000)


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_format_becomes_the_same_sound_however_it_is_cut(rate_hz, channels, encoding):
    audio = sine(1_000, rate_hz, channels)
    audio = pcm16_to_mulaw(audio) if encoding is Encoding.MULAW else audio
    form = AudioFormat(encoding, rate_hz, channels)
    cuts = random.Random(rate_hz)
    intake = Intake()
    intake.start(AudioStart(encoding.value, rate_hz, channels))
    heard, number = b"", 0
    while audio:
        size = cuts.randrange(1, rate_hz // 20) * form.frame_bytes
        heard += b"".join(part for part in intake.chunk(chunk(number, audio[:size])) if isinstance(part, bytes))
        audio, number = audio[size:], number + 1
    heard += b"".join(intake.end())
    assert abs(len(heard) / 32 - 1_000) < 1
    assert abs(crossings(heard) - 440) <= 2
    assert 5_400 < loudness(heard) < 5_900  # 8,000 / sqrt 2


@pytest.mark.parametrize(
    "form", [AudioFormat(Encoding.MULAW, 8_000), AudioFormat(sample_rate_hz=48_000), AudioFormat()]
)
def test_an_answer_keeps_its_sound_in_the_callers_format(form):
    encoder = Encoder(16_000, form)
    voice = sine(1_000, 16_000)
    parts = [encoder.encode(voice[at : at + 6_400]) for at in range(0, len(voice), 6_400)]
    encoded = b"".join(parts) + encoder.finish()
    assert abs(form.duration_ms(len(encoded)) - 1_000) < 1
    intake = Intake()
    intake.start(AudioStart(form.encoding.value, form.sample_rate_hz))
    (back, *rest) = intake.chunk(chunk(0, encoded))
    assert isinstance(back, bytes)
    back += b"".join(part for part in (*rest, *intake.end()) if isinstance(part, bytes))
    assert abs(crossings(back) - 440) <= 2
    assert 5_300 < loudness(back) < 5_900

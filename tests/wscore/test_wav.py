"""WAV files: what can be sent comes out as it went in, and the rest is refused with what to do."""

from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.audio import SAMPLE_RATES_HZ, AudioFormat, Encoding
from wscore.wav import Wav, WavError, read_wav, write_wav


@given(st.sampled_from(SAMPLE_RATES_HZ), st.sampled_from([1, 2]), st.binary(max_size=400))
def test_what_was_written_is_read(rate_hz, channels, audio):
    form = AudioFormat(Encoding.PCM16, rate_hz, channels)
    wav = Wav(form, audio[: len(audio) // form.frame_bytes * form.frame_bytes])
    assert read_wav(write_wav(wav)) == wav


def file(*, channels: int = 1, sample_bytes: int = 2, rate_hz: int = 16_000, audio: bytes = bytes(320)) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(sample_bytes)
        writer.setframerate(rate_hz)
        writer.writeframes(audio)
    return data.getvalue()


FLOAT = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 100, b"WAVE", b"fmt ", 16, 3, 1, 16_000, 64_000, 4, 32)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a WAV file with PCM samples .it ends too soon"),
        (b"ID3\x04 an mp3", "not a WAV file with PCM samples"),
        (FLOAT, "not a WAV file with PCM samples .unknown format: 3"),
        (file(sample_bytes=1), "it has samples of 8 bits, not 16"),
        (file(sample_bytes=3, audio=bytes(300)), "it has samples of 24 bits, not 16"),
        (file(channels=6, audio=bytes(1200)), "it has 6 channels, more than 2"),
        (file(rate_hz=96_000), "its sampleRate 96000 is not supported; use 8000, .*48000"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_to_do(data, problem):
    with pytest.raises(WavError, match=f"^{problem}.*ffmpeg"):
        read_wav(data)


def test_what_is_cut_off_is_left_out():
    whole = read_wav(file(channels=2)[:-1])
    assert len(whole.audio) == 316
    assert whole.duration_ms == 79 / 16


@given(st.sampled_from([b"", b"RIFF\xff\xff\xff\xffWAVE", FLOAT[:20]]), st.binary(max_size=200))
def test_no_bytes_raise_anything_else(head, data):
    with suppress(WavError):
        assert read_wav(head + data)

"""Audio formats: sizes, what is refused, and G.711 mu-law against its published values."""

from __future__ import annotations

import struct

import pytest

from wscore.audio import AudioFormat, Encoding, UnsupportedFormatError
from wscore.samples import mulaw_to_pcm16, pcm16_to_mulaw


def test_a_second_of_the_default_format_is_32000_bytes() -> None:
    assert AudioFormat().bytes_per_second == 32_000
    assert AudioFormat().duration_ms(3_200) == 100
    assert AudioFormat(Encoding.MULAW, 8_000).size_bytes(20) == 160


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "field"),
    [("opus", 16_000, 1, "encoding"), ("pcm16", 16_001, 1, "sampleRate"), ("mulaw", 8_000, 3, "channels")],
)
def test_an_unsupported_format_names_the_field(encoding: str, rate: int, channels: int, field: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=field):
        AudioFormat.of(encoding, rate, channels)


# ITU-T G.711, table 2: the ends, the middle, and one value of an inner segment.
@pytest.mark.parametrize(("code", "sample"), [(0x00, -32_124), (0x80, 32_124), (0xFF, 0), (0x7F, 0), (0x9F, 8_316)])
def test_mulaw_codes_decode_to_the_values_of_the_standard(code: int, sample: int) -> None:
    assert mulaw_to_pcm16(bytes([code])) == struct.pack("<h", sample)


def test_every_mulaw_code_survives_a_round_trip() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # negative zero becomes zero
    assert pcm16_to_mulaw(mulaw_to_pcm16(codes)) == codes


def test_mulaw_is_off_by_at_most_half_a_step_for_every_sample() -> None:
    samples = range(-32_768, 32_768)
    back = struct.unpack("<65536h", mulaw_to_pcm16(pcm16_to_mulaw(struct.pack("<65536h", *samples))))
    for sample, decoded in zip(samples, back, strict=True):
        half_a_step = 4 << (min(abs(sample), 32_635) + 132).bit_length() - 8
        assert abs(decoded - sample) <= max(half_a_step, abs(sample) - 32_124), sample

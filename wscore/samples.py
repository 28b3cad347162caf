"""Samples of other kinds to and from 16-bit little-endian ones: by slices and tables, since Python has no others."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from functools import cache
from typing import Final

_MULAW_BIAS: Final = 0x84  # ITU-T G.711: added before the logarithm is taken
_MULAW_CLIP: Final = 32_635
_PEAK: Final = 32_767


def unsigned_to_pcm16(audio: bytes) -> bytes:
    """Widen unsigned 8-bit samples, as WAV files have them."""
    return _joined(bytes(len(audio)), audio.translate(_signed_table()))


def narrowed_to_pcm16(audio: bytes, sample_bytes: int) -> bytes:
    """Keep the two upper bytes of each little-endian sample of 3 or 4 bytes."""
    return _joined(audio[sample_bytes - 2 :: sample_bytes], audio[sample_bytes - 1 :: sample_bytes])


def float_to_pcm16(audio: bytes, sample_bytes: int) -> bytes:
    """Scale little-endian floats of 4 or 8 bytes from ±1; what is louder is clipped, what is no number is silence."""
    samples = array("f" if sample_bytes == 4 else "d")
    samples.frombytes(audio)
    if sys.byteorder == "big":
        samples.byteswap()
    clipped = (max(-1.0, min(1.0, sample)) if sample == sample else 0.0 for sample in samples)
    return _little_endian(array("h", (round(sample * _PEAK) for sample in clipped)))


def mulaw_to_pcm16(audio: bytes) -> bytes:
    """Decode G.711 mu-law."""
    return _joined(*map(audio.translate, _decoding(_decode_mulaw)))


def alaw_to_pcm16(audio: bytes) -> bytes:
    """Decode G.711 A-law."""
    return _joined(*map(audio.translate, _decoding(_decode_alaw)))


def pcm16_to_mulaw(audio: bytes) -> bytes:
    """Encode 16-bit samples as G.711 mu-law; raises ValueError for half a sample."""
    samples = array("H")
    samples.frombytes(audio)
    if sys.byteorder == "big":
        samples.byteswap()
    return bytes(map(_mulaw_codes().__getitem__, samples))


def _joined(lower: bytes, upper: bytes) -> bytes:
    """Return the samples with these lower and upper bytes."""
    samples = bytearray(2 * len(lower))
    samples[0::2] = lower
    samples[1::2] = upper
    return bytes(samples)


def _little_endian(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


@cache
def _signed_table() -> bytes:
    return bytes(code ^ 0x80 for code in range(256))


@cache
def _decoding(decode: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Return the lower and the upper byte of every code's sample."""
    samples = _little_endian(array("h", map(decode, range(256))))
    return samples[0::2], samples[1::2]


@cache
def _mulaw_codes() -> bytes:
    # Indexed by the sample's two bytes read as an unsigned number.
    return bytes(_encode_mulaw(sample if sample < 0x8000 else sample - 0x10000) for sample in range(0x10000))


def _decode_mulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + _MULAW_BIAS << ((code & 0x70) >> 4)) - _MULAW_BIAS
    return -magnitude if code & 0x80 else magnitude


def _decode_alaw(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return magnitude if code & 0x80 else -magnitude


def _encode_mulaw(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _MULAW_CLIP) + _MULAW_BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> (exponent + 3) & 0x0F
    return ~(sign | exponent << 4 | mantissa) & 0xFF

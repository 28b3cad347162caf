"""What an `audio_chunk` sounds like, in a line: length, duration and a bar of its level."""

from __future__ import annotations

import array
import base64
import binascii
import math
import sys
from typing import Final

import msgspec

from wscore.envelope import Envelope, InvalidMessageError, decode_data

DEFAULT_RATE: Final = 16_000  # what the seed's clients send: 16 bit, mono (design section 9)
BAR_CELLS: Final = 24
FLOOR_DB: Final = -60.0
_FULL_SCALE = 32768.0


class _AudioData(msgspec.Struct, rename="camel"):
    audio_data: str
    sample_rate: int = DEFAULT_RATE
    encoding: str = "pcm16"


def describe_audio(envelope: Envelope | None) -> str:
    """Return the line for an `audio_chunk`, or an empty text for anything else."""
    if envelope is None or envelope.type != "audio_chunk":
        return ""
    try:
        chunk = decode_data(envelope.data, _AudioData)
        audio = base64.b64decode(chunk.audio_data, validate=True)
    except (InvalidMessageError, binascii.Error, ValueError):
        return "audio: cannot be read"
    if chunk.encoding != "pcm16" or not 0 < chunk.sample_rate <= 1_000_000:
        return f"audio: {len(audio):,} bytes"
    duration_ms = len(audio) / 2 / chunk.sample_rate * 1000
    return f"audio: {len(audio):,} bytes, {duration_ms:.0f} ms at {chunk.sample_rate:,} Hz  {level_bar(audio)}"


def level_bar(audio: bytes) -> str:
    """Return a bar for the level of 16-bit little-endian samples, with the figure in dB of full scale."""
    samples = array.array("h", audio[: len(audio) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    mean_square = sum(sample * sample for sample in samples) / len(samples) if samples else 0.0
    level_db = 20 * math.log10(math.sqrt(mean_square) / _FULL_SCALE) if mean_square else -math.inf
    filled = round(BAR_CELLS * (1 - max(level_db, FLOOR_DB) / FLOOR_DB))
    return f"[{'█' * filled}{'·' * (BAR_CELLS - filled)}] " + (
        "silence" if mean_square == 0 else f"{level_db:.0f} dBFS"
    )

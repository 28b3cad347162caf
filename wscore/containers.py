"""Audio in a container, told by its first bytes, where samples are expected: what a browser records, music, WAV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# What each begins with; WebM and Matroska begin alike.
_MAGIC: Final = (
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"fLaC", "FLAC"),
    (4, b"ftyp", "MP4"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "AU"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (8, b"WAVE", "WAV"),
)
_MP3_BIT_RATES_KBPS: Final = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
_MP3_SAMPLE_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def container_of(data: bytes) -> str | None:
    """Return the name of the container that these bytes begin, None for what may be samples.

    An MP3 or AAC stream without a header is known by two of its frames, of which the first must be whole.
    """
    for at, magic, name in _MAGIC:
        if data.startswith(magic, at):
            return name
    if _has_two_frames(data, _mp3_frame_bytes):
        return "MP3"
    if _has_two_frames(data, _aac_frame_bytes):
        return "AAC"
    return None


def _has_two_frames(data: bytes, frame_bytes: Callable[[bytes], int]) -> bool:
    size = frame_bytes(data[:6])
    # The second one has the same version, layer and protection: two bytes that samples hardly repeat just there.
    return size > 0 and data[size : size + 2] == data[:2] and frame_bytes(data[size : size + 6]) > 0


def _mp3_frame_bytes(head: bytes) -> int:
    """Return the length of the MPEG frame, layer III, that begins so; 0 if none does (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bit_rate, sample_rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or sample_rate == 3:
        return 0
    factor = 144_000 if version == 3 else 72_000
    kbps = _MP3_BIT_RATES_KBPS[version == 3][bit_rate - 1]
    return factor * kbps // _MP3_SAMPLE_RATES_HZ[version][sample_rate] + (head[2] >> 1 & 1)


def _aac_frame_bytes(head: bytes) -> int:
    """Return the length of the ADTS frame that begins so; 0 if none does (ISO 13818-7, 6.2)."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0

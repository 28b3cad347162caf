"""WAV files as bytes: what people have on disk or in a pipe, to and from raw audio of a known format.

A reader of our own, since Python's `wave` knows whole numbers alone, and extensible headers only from 3.12 on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from wscore.audio import MAX_CHANNELS, AudioFormat, Encoding, UnsupportedFormatError
from wscore.containers import container_of
from wscore.errors import WsctlError
from wscore.samples import alaw_to_pcm16, float_to_pcm16, mulaw_to_pcm16, narrowed_to_pcm16, unsigned_to_pcm16

MEND: Final = "convert it, for example with `ffmpeg -i IN -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav`"

# Format tags of the registry of RFC 2361; an extensible header has its tag in the first bytes of a GUID.
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_KNOWN_TAGS: Final = {2: "Microsoft ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x50: "MPEG audio", 0x55: "MP3"}
_CONVERTERS: Final[dict[tuple[int, int], Callable[[bytes], bytes]]] = {
    (_PCM, 1): unsigned_to_pcm16,
    (_PCM, 2): bytes,
    (_PCM, 3): partial(narrowed_to_pcm16, sample_bytes=3),
    (_PCM, 4): partial(narrowed_to_pcm16, sample_bytes=4),
    (_FLOAT, 4): partial(float_to_pcm16, sample_bytes=4),
    (_FLOAT, 8): partial(float_to_pcm16, sample_bytes=8),
    (_ALAW, 1): alaw_to_pcm16,
    (_MULAW, 1): mulaw_to_pcm16,
}
_VARIANTS: Final = {
    b"RIFX": "is a big-endian WAV file (RIFX)",
    b"RF64": "is a WAV file for more than 4 GiB (RF64)",
    b"BW64": "is a WAV file for more than 4 GiB (BW64)",
}
# From here on a size is a placeholder: whoever wrote into a pipe could not come back to fill in the real one.
_PLACEHOLDER_BYTES: Final = 0x7FF0_0000


class WavError(WsctlError):
    """Bytes that are no WAV file, or one that cannot be sent; `__str__` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wav:
    """Raw audio, pcm16 in whole frames, and its format.

    `missing_ms` is how much more the file announced than it had.
    """

    form: AudioFormat
    audio: bytes
    missing_ms: float = 0.0

    @property
    def duration_ms(self) -> float:
        """How long it lasts."""
        return self.form.duration_ms(len(self.audio))


@dataclass(frozen=True, slots=True)
class _RiffChunk:
    """One part of the file: its announced size, and where it begins."""

    id: bytes
    size: int
    start: int


def read_wav(data: bytes) -> Wav:
    """Read a WAV file: whole numbers of 8 to 32 bits, floats, A-law or mu-law, with any header; raises WavError.

    What a pipe leaves open, the sizes, is taken as far as it goes. Half a frame at the end is left out.
    """
    _check_head(data)
    layout: bytes | None = None
    for chunk in _chunks(data):
        if chunk.id == b"fmt ":
            layout = data[chunk.start : chunk.start + chunk.size]
        elif chunk.id == b"data":
            if layout is None:
                raise WavError(f"its samples come before their format; {MEND}")
            return _samples(data, chunk, layout)
    raise WavError(f"it ends before its {'format' if layout is None else 'samples'}; {MEND}")


def write_wav(wav: Wav) -> bytes:
    """Return the file; its audio must be pcm16."""
    form, size = wav.form, len(wav.audio)
    layout = struct.pack(
        "<HHIIHH", _PCM, form.channels, form.sample_rate_hz, form.bytes_per_second, form.frame_bytes, 16
    )
    head = struct.pack("<4sI4s4sI16s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, layout, b"data", size)
    return head + wav.audio


def _check_head(data: bytes) -> None:
    if not data:
        raise WavError("it is empty")
    if data[8:12] == b"WAVE":
        if data[:4] == b"RIFF":
            return
        if (variant := _VARIANTS.get(data[:4])) is not None:
            raise WavError(f"it {variant}, not RIFF; {MEND}")
    container = container_of(data)
    if container is not None and container != "WAV":
        raise WavError(f"it is {container}, not WAV; {MEND}")
    raise WavError(f"it is not a WAV file; {MEND}")


def _chunks(data: bytes) -> Iterator[_RiffChunk]:
    at = 12
    while at + 8 <= len(data):
        id, size = struct.unpack_from("<4sI", data, at)
        yield _RiffChunk(id, size, at + 8)
        at += 8 + size
        # An odd chunk is padded with a zero, except by writers that do not know; no name of a chunk begins with one.
        if size % 2 and data[at : at + 1] == b"\0":
            at += 1


def _samples(data: bytes, chunk: _RiffChunk, layout: bytes) -> Wav:
    convert, frame_bytes, form = _read_layout(layout)
    there = len(data) - chunk.start
    size = chunk.size
    if size >= _PLACEHOLDER_BYTES or (size == 0 and not _goes_on(data, chunk.start)):
        size = there
    audio = data[chunk.start : chunk.start + size - size % frame_bytes]
    audio = audio[: len(audio) - len(audio) % frame_bytes]
    pcm = convert(audio)
    if not pcm:
        raise WavError("it has no samples")
    return Wav(form, pcm, max(size - there, 0) / frame_bytes / form.sample_rate_hz * 1000)


def _goes_on(data: bytes, at: int) -> bool:
    """Whether the file announces more after this place: then what follows are other chunks, else samples."""
    return at < 8 + int.from_bytes(data[4:8], "little") <= len(data)


def _read_layout(layout: bytes) -> tuple[Callable[[bytes], bytes], int, AudioFormat]:
    """Return how samples become pcm16, how many bytes a frame has in the file, and the format of the result."""
    if len(layout) < 16:
        raise WavError(f"its format takes {len(layout)} bytes, fewer than 16; {MEND}")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == _EXTENSIBLE:
        if len(layout) < 40:
            raise WavError(f"its extensible format takes {len(layout)} bytes, fewer than 40; {MEND}")
        if layout[26:40] != _GUID_TAIL:
            raise WavError(f"its format {layout[24:40].hex()} is not known; {MEND}")
        (tag,) = struct.unpack_from("<H", layout, 24)
    if not 1 <= channels <= MAX_CHANNELS:
        raise WavError(f"it has {channels} channels, not 1 or {MAX_CHANNELS}; {MEND}")
    convert = _CONVERTERS.get((tag, frame_bytes // channels))
    if tag in _KNOWN_TAGS:
        raise WavError(f"its samples are {_KNOWN_TAGS[tag]}; {MEND}")
    if tag not in (_PCM, _FLOAT, _ALAW, _MULAW):
        raise WavError(f"its samples are of a kind that is not known ({tag:#06x}); {MEND}")
    if convert is None or frame_bytes % channels or not 0 < bits <= frame_bytes // channels * 8:
        raise WavError(f"its samples have {bits} bits in {frame_bytes} bytes for {channels} channels; {MEND}")
    try:
        return convert, frame_bytes, AudioFormat.of(Encoding.PCM16, rate_hz, channels)
    except UnsupportedFormatError as error:
        raise WavError(f"its {error}; or {MEND}") from None

"""Audio formats on the wire: pcm16 and mulaw, and their sizes (design section 9)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wscore.errors import WsctlError

SAMPLE_RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MAX_CHANNELS: Final = 2


class Encoding(StrEnum):
    """How one sample is written: 16-bit little-endian, or 8-bit G.711 mu-law."""

    PCM16 = "pcm16"
    MULAW = "mulaw"


class UnsupportedFormatError(WsctlError):
    """An audio format that wsctl does not speak; `__str__` names the field and what it may be."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field} {self.value!r} is not supported; use {self.allowed}"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding, sample rate in Hz and number of channels of raw audio without a header."""

    encoding: Encoding = Encoding.PCM16
    sample_rate_hz: int = 16_000
    channels: int = 1

    @classmethod
    def of(cls, encoding: str, sample_rate_hz: int, channels: int) -> AudioFormat:
        """Check what a message names; raises UnsupportedFormatError for the first field that is not supported."""
        if encoding not in set(Encoding):
            raise UnsupportedFormatError("encoding", encoding, " or ".join(Encoding))
        if sample_rate_hz not in SAMPLE_RATES_HZ:
            raise UnsupportedFormatError("sampleRate", sample_rate_hz, ", ".join(map(str, SAMPLE_RATES_HZ)))
        if not 1 <= channels <= MAX_CHANNELS:
            raise UnsupportedFormatError("channels", channels, "1 or 2")
        return cls(Encoding(encoding), sample_rate_hz, channels)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * (2 if self.encoding is Encoding.PCM16 else 1)

    @property
    def bytes_per_second(self) -> int:
        """Bytes of one second."""
        return self.sample_rate_hz * self.frame_bytes

    def duration_ms(self, size_bytes: int) -> float:
        """Return how long so many bytes last, in ms."""
        return size_bytes * 1000 / self.bytes_per_second

    def size_bytes(self, duration_ms: float) -> int:
        """Return how many bytes last so many ms, in whole frames."""
        return int(self.sample_rate_hz * duration_ms / 1000) * self.frame_bytes


# What a client speaks that says nothing, and what the stages of the voice pipeline work on.
DEFAULT_FORMAT: Final = AudioFormat()

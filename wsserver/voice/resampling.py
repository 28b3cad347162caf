"""From any wire format to the pipeline's audio and back, as a stream; the only file that knows soxr.

Intake and speech call it; it knows nothing of messages. 16 kHz passes through without a resampler.
"""

from __future__ import annotations

from typing import Any, Final

from wscore.audio import DEFAULT_FORMAT, AudioFormat, Encoding
from wscore.samples import mulaw_to_pcm16, pcm16_to_mulaw

PIPELINE_RATE_HZ: Final = DEFAULT_FORMAT.sample_rate_hz


class Resampler:
    """pcm16 mono from one rate to another. Between pieces it keeps what it needs for the next one."""

    __slots__ = ("_from_hz", "_stream", "_to_hz")

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz = from_hz
        self._to_hz = to_hz
        self._stream = self._new()

    def resample(self, pcm: bytes, *, is_last: bool = False) -> bytes:
        """Return what is ready; after the last piece everything is, and the next one begins anew."""
        if self._stream is None:
            return pcm
        import numpy as np

        resampled: bytes = self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last=is_last).astype("<i2").tobytes()
        if is_last:
            self._stream = self._new()
        return resampled

    def _new(self) -> Any:
        if self._from_hz == self._to_hz:
            return None
        import soxr

        return soxr.ResampleStream(self._from_hz, self._to_hz, 1, dtype="int16")


class Decoder:
    """A caller's audio to pcm16, 16 kHz, mono."""

    __slots__ = ("_format", "_resampler")

    def __init__(self, form: AudioFormat) -> None:
        self._format = form
        self._resampler = Resampler(form.sample_rate_hz, PIPELINE_RATE_HZ)

    def decode(self, audio: bytes) -> bytes:
        """Take whole frames; returns what is ready."""
        pcm = mulaw_to_pcm16(audio) if self._format.encoding is Encoding.MULAW else audio
        return self._resampler.resample(_mixed(pcm) if self._format.channels == 2 else pcm)

    def finish(self) -> bytes:
        """Return what is left; the next audio begins anew."""
        return self._resampler.resample(b"", is_last=True)


class Encoder:
    """A synthesizer's pcm16 mono to the encoding and rate of `form`, mono."""

    __slots__ = ("_encoding", "_resampler")

    def __init__(self, rate_hz: int, form: AudioFormat) -> None:
        self._encoding = form.encoding
        self._resampler = Resampler(rate_hz, form.sample_rate_hz)

    def encode(self, pcm: bytes) -> bytes:
        """Take whole samples; returns what is ready."""
        return self._encoded(self._resampler.resample(pcm))

    def finish(self) -> bytes:
        """Return what is left."""
        return self._encoded(self._resampler.resample(b"", is_last=True))

    def _encoded(self, pcm: bytes) -> bytes:
        return pcm16_to_mulaw(pcm) if self._encoding is Encoding.MULAW else pcm


def _mixed(pcm: bytes) -> bytes:
    import numpy as np

    both = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    mixed: bytes = both.mean(axis=1).round().astype("<i2").tobytes()
    return mixed

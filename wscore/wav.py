"""WAV files as bytes: what people have on disk, to and from raw audio of a known format."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from typing import Final

from wscore.audio import MAX_CHANNELS, AudioFormat, Encoding, UnsupportedFormatError
from wscore.errors import WsctlError

MEND: Final = "convert it, for example with `ffmpeg -i IN -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav`"
_SAMPLE_BYTES: Final = 2


class WavError(WsctlError):
    """Bytes that are no WAV file, or one that cannot be sent; `__str__` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wav:
    """Raw audio, pcm16 in whole frames, and its format."""

    form: AudioFormat
    audio: bytes

    @property
    def duration_ms(self) -> float:
        """How long it lasts."""
        return self.form.duration_ms(len(self.audio))


def read_wav(data: bytes) -> Wav:
    """Read a WAV file of 16-bit samples; raises WavError. What is cut off at its end is left out."""
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            rate_hz, channels, sample_bytes = file.getframerate(), file.getnchannels(), file.getsampwidth()
            audio = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise WavError(f"not a WAV file with PCM samples ({str(error) or 'it ends too soon'}); {MEND}") from None
    if sample_bytes != _SAMPLE_BYTES:
        raise WavError(f"it has samples of {sample_bytes * 8} bits, not 16; {MEND}")
    if channels > MAX_CHANNELS:
        raise WavError(f"it has {channels} channels, more than {MAX_CHANNELS}; {MEND}")
    try:
        form = AudioFormat.of(Encoding.PCM16, rate_hz, channels)
    except UnsupportedFormatError as error:
        raise WavError(f"its {error}; or {MEND}") from None
    return Wav(form, audio[: len(audio) - len(audio) % form.frame_bytes])


def write_wav(wav: Wav) -> bytes:
    """Return the file; its audio must be pcm16."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(wav.form.channels)
        writer.setsampwidth(_SAMPLE_BYTES)
        writer.setframerate(wav.form.sample_rate_hz)
        writer.writeframes(wav.audio)
    return file.getvalue()

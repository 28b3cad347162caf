"""A caller's `audio_chunk` messages in order: checked, without doubles, small gaps filled with silence.

Listening calls it; it knows no clock, no event loop and no connection.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from wscore.audio import DEFAULT_FORMAT, AudioFormat, Encoding, UnsupportedFormatError
from wscore.codes import ErrorCode
from wscore.errors import WsctlError
from wscore.payloads import AudioChunk, AudioStart
from wsserver.voice.resampling import Decoder

MAX_FILLED_MS: Final = 200  # the longest gap that silence fills; what follows a longer one has nothing to do with it
LATE_CHUNKS: Final = 64  # so far back a number is that of a late or doubled chunk; further back the count began anew


class IntakeError(WsctlError):
    """Audio that cannot be taken; `code` is what the caller is told, `__str__` why."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class NewSegment:
    """What comes next does not continue what came before."""


class Intake:
    """One caller's stream. `dropped` counts the late and doubled chunks."""

    __slots__ = ("_decoder", "_expected", "_format", "_last_ms", "dropped")

    def __init__(self) -> None:
        self._format = DEFAULT_FORMAT
        self._decoder = Decoder(DEFAULT_FORMAT)
        self._expected: int | None = None
        self._last_ms = 0.0
        self.dropped = 0

    @property
    def answer_format(self) -> AudioFormat:
        """The format in which the caller wants to hear answers: its own, in mono."""
        return AudioFormat(self._format.encoding, self._format.sample_rate_hz)

    def start(self, data: AudioStart) -> list[bytes]:
        """Begin anew with a format; returns the rest of the audio before it.

        Raises IntakeError for a format that is not supported; the one before stays.
        """
        try:
            form = AudioFormat.of(data.encoding, data.sample_rate, data.channels)
        except UnsupportedFormatError as error:
            raise IntakeError(ErrorCode.UNSUPPORTED_FORMAT, str(error)) from None
        rest = self.end()
        self._format = form
        self._decoder = Decoder(form)
        return rest

    def chunk(self, data: AudioChunk) -> list[bytes | NewSegment]:
        """Return the chunk's audio in the pipeline's format, and what belongs before it.

        Raises IntakeError for audio that cannot be read; it counts as a gap.
        """
        audio = self._read(data)
        number, expected = data.sequence_number, self._expected
        if expected is not None and expected - LATE_CHUNKS <= number < expected:
            self.dropped += 1
            return []
        parts: list[bytes | NewSegment] = []
        if expected is not None and number > expected:
            missing_ms = (number - expected) * self._last_ms
            if missing_ms <= MAX_FILLED_MS:
                parts.append(self._decoder.decode(self._silence(missing_ms)))
            else:
                parts += [self._decoder.finish(), NewSegment()]
        self._expected = number + 1
        self._last_ms = self._format.duration_ms(len(audio))
        parts.append(self._decoder.decode(audio))
        return [part for part in parts if part != b""]

    def end(self) -> list[bytes]:
        """Return the rest of the audio, at the end of a turn; the next chunk may have any number."""
        self._expected = None
        rest = self._decoder.finish()
        return [rest] if rest else []

    def _read(self, data: AudioChunk) -> bytes:
        try:
            audio = base64.b64decode(data.audio_data.encode("ascii"), validate=True)
        except UnicodeEncodeError:
            raise _invalid(data, "audioData is not base64: it has characters beyond ASCII") from None
        except binascii.Error as error:
            raise _invalid(data, f"audioData is not base64: {str(error)[:1].lower()}{str(error)[1:]}") from None
        if len(audio) % self._format.frame_bytes:
            channels = "" if self._format.channels == 1 else f" of {self._format.channels} channels"
            raise _invalid(data, f"{len(audio)} bytes are no whole {self._format.encoding} samples{channels}")
        return audio

    def _silence(self, duration_ms: float) -> bytes:
        zero = b"\xff" if self._format.encoding is Encoding.MULAW else b"\x00"
        return zero * self._format.size_bytes(duration_ms)


def _invalid(data: AudioChunk, problem: str) -> IntakeError:
    return IntakeError(ErrorCode.INVALID_AUDIO, f"chunk {data.sequence_number}: {problem}")

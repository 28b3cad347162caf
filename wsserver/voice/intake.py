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
from wscore.containers import container_of
from wscore.errors import WsctlError
from wscore.payloads import AudioChunk, AudioStart
from wsserver.voice.resampling import Decoder

MAX_FILLED_MS: Final = 200  # the longest gap that silence fills; what follows a longer one has nothing to do with it
LATE_CHUNKS: Final = 64  # so many chunks are known again when they come twice


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
    """One caller's stream. What it does not take it refuses with an IntakeError, nothing is dropped in silence."""

    __slots__ = ("_container", "_decoder", "_expected", "_format", "_known", "_last_ms")

    def __init__(self) -> None:
        self._format = DEFAULT_FORMAT
        self._decoder = Decoder(DEFAULT_FORMAT)
        self._expected: int | None = None  # the next number; None: any
        self._known: dict[int, int] = {}  # the last numbers of this count, oldest first, with a hash of their audio
        self._last_ms = 0.0
        self._container: str | None = None  # what this count began with, if that was no samples

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

    def chunk(self, data: AudioChunk, *, in_turn: bool = False) -> list[bytes | NewSegment]:
        """Return the chunk's audio in the pipeline's format, and what belongs before it.

        `in_turn` tells that a turn has begun and not ended: only then a number can be too low. Raises IntakeError for
        a chunk that came twice or too late, and for audio that cannot be read, which counts as a gap.
        """
        number = data.sequence_number
        if self._expected is not None and number < self._expected:
            self._check_order(data, in_turn)
            self._begin()
        audio = self._read(data)
        expected = self._expected
        parts: list[bytes | NewSegment] = []
        if expected is not None and number > expected:
            missing_ms = (number - expected) * self._last_ms
            if missing_ms <= MAX_FILLED_MS:
                parts.append(self._decoder.decode(self._silence(missing_ms)))
            else:
                parts += [self._decoder.finish(), NewSegment()]
        self._expected = number + 1
        self._known[number] = hash(data.audio_data)
        if len(self._known) > LATE_CHUNKS:
            del self._known[next(iter(self._known))]
        self._last_ms = self._format.duration_ms(len(audio))
        parts.append(self._decoder.decode(audio))
        return [part for part in parts if part != b""]

    def end(self) -> list[bytes]:
        """Return the rest of the audio, at the end of a turn; the next chunk may have any number."""
        self._begin()
        rest = self._decoder.finish()
        return [rest] if rest else []

    def _begin(self) -> None:
        """Begin a count."""
        self._expected = None
        self._known.clear()
        self._container = None

    def _check_order(self, data: AudioChunk, in_turn: bool) -> None:
        """Raise IntakeError for a chunk that came before, or should have.

        A low number is more often that of a client that counts anew with each utterance: always where no turn goes
        on, since there nothing is heard twice that matters, and where other audio had this number.
        """
        number, known = data.sequence_number, self._known
        if not in_turn or not known or number < next(iter(known)):
            return
        if number not in known:
            raise self._misplaced(number, "it came too late")
        if known[number] == hash(data.audio_data):
            raise self._misplaced(number, "it came twice")

    def _misplaced(self, number: int, problem: str) -> IntakeError:
        return _invalid(number, f"{problem}, so it is not heard; {self._expected} is next")

    def _read(self, data: AudioChunk) -> bytes:
        number = data.sequence_number
        try:
            audio = base64.b64decode(data.audio_data.encode("ascii"), validate=True)
        except UnicodeEncodeError:
            raise _invalid(number, "audioData is not base64: it has characters beyond ASCII") from None
        except binascii.Error as error:
            raise _invalid(number, f"audioData is not base64: {str(error)[:1].lower()}{str(error)[1:]}") from None
        self._check_format(data, audio)
        if len(audio) % self._format.frame_bytes:
            channels = "" if self._format.channels == 1 else f" of {self._format.channels} channels"
            raise _invalid(number, f"{len(audio)} bytes are no whole {self._format.encoding} samples{channels}")
        return audio

    def _check_format(self, data: AudioChunk, audio: bytes) -> None:
        """Raise IntakeError for what is not the samples that `audio_start` announced."""
        form = self._format
        if data.encoding is not None and data.encoding != form.encoding:
            raise _unannounced(data, f"encoding {data.encoding!r}", form.encoding.value)
        if data.sample_rate is not None and data.sample_rate != form.sample_rate_hz:
            raise _unannounced(data, f"sampleRate {data.sample_rate}", str(form.sample_rate_hz))
        if self._expected is None:
            # All that follows belongs to it, and is noise when it is taken for samples.
            self._container = container_of(audio)
            self._expected = data.sequence_number
        if self._container is not None:
            raise IntakeError(
                ErrorCode.UNSUPPORTED_FORMAT,
                f"chunk {data.sequence_number}: audioData is {self._container}, not samples; "
                f"send {' or '.join(Encoding)} without a container",
            )

    def _silence(self, duration_ms: float) -> bytes:
        zero = b"\xff" if self._format.encoding is Encoding.MULAW else b"\x00"
        return zero * self._format.size_bytes(duration_ms)


def _invalid(number: int, problem: str) -> IntakeError:
    return IntakeError(ErrorCode.INVALID_AUDIO, f"chunk {number}: {problem}")


def _unannounced(data: AudioChunk, found: str, announced: str) -> IntakeError:
    text = f"chunk {data.sequence_number}: {found}, but {announced} is announced; say it in audio_start"
    return IntakeError(ErrorCode.UNSUPPORTED_FORMAT, text)

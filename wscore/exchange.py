"""The caller's side of a conversation by voice: audio as messages, and what comes back, gathered by turn.

The command line, the terminal client and the load test use it; it knows no connection and no clock.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from wscore.audio import AudioFormat, Encoding, UnsupportedFormatError
from wscore.envelope import Envelope, InvalidMessageError, decode_data
from wscore.payloads import (
    AudioChunk,
    AudioStart,
    ErrorData,
    LlmResponse,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    Transcript,
    Turn,
    TurnMetrics,
)
from wscore.samples import mulaw_to_pcm16
from wscore.wav import Wav

CHUNK_MS: Final = 100


def audio_start(form: AudioFormat) -> AudioStart:
    """Return the message that announces a format."""
    return AudioStart(form.encoding.value, form.sample_rate_hz, form.channels)


def audio_chunks(
    form: AudioFormat, audio: bytes, chunk_ms: int = CHUNK_MS, first_number: int = 0
) -> Iterator[AudioChunk]:
    """Cut audio into messages of `chunk_ms`, the last one shorter, numbered from `first_number`."""
    size = max(form.size_bytes(chunk_ms), form.frame_bytes)
    for number, start in enumerate(range(0, len(audio), size), first_number):
        yield AudioChunk(base64.b64encode(audio[start : start + size]).decode(), number)


@dataclass(slots=True)
class TurnResult:
    """What came back for one turn so far.

    `audio` is pcm16 mono of `sample_rate_hz`, which is 0 until some came; `is_spoken` once all of it has come, which
    is some seconds before the server thinks that it was listened to and sends a `status`.
    """

    turn_id: str
    transcript: str = ""
    response_id: str | None = None
    answer: str = ""
    audio: bytearray = field(default_factory=bytearray)
    sample_rate_hz: int = 0
    is_spoken: bool = False
    status: ResponseStatus | None = None
    metrics: TurnMetrics | None = None
    error: ErrorData | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes for it that anybody waits for."""
        return self.is_spoken or self.status is not None or (self.error is not None and self.response_id is None)

    @property
    def reply(self) -> Wav | None:
        """The answer's voice, None while there is none."""
        if not self.sample_rate_hz:
            return None
        return Wav(AudioFormat(Encoding.PCM16, self.sample_rate_hz), bytes(self.audio))


class Exchange:
    """Takes what the server sends and sorts it into turns.

    It has ended once the server has heard all of the audio, which it says in answer to an `audio_end` with the id
    `end_id`, and has nothing more to say about any turn. A typed turn ends it as well: its `text_input` is announced by
    `typed`.
    """

    def __init__(self, end_id: str | None = None) -> None:
        self.turns: dict[str, TurnResult] = {}
        self.errors: list[ErrorData] = []  # those that belong to no turn
        self._end_id = end_id
        self._is_heard = False
        self._typed = end_id is None

    @property
    def has_ended(self) -> bool:
        """Whether all that was asked is answered."""
        if not all(turn.has_ended for turn in self.turns.values()):
            return False
        return bool(self.turns or self.errors) if self._typed else self._is_heard

    @property
    def reply(self) -> Wav | None:
        """What all answers said, one after the other; None when nothing was said."""
        replies = [reply for turn in self.turns.values() if (reply := turn.reply) is not None and reply.audio]
        if not replies:
            return None
        form = replies[0].form
        return Wav(form, b"".join(reply.audio for reply in replies if reply.form == form))

    def take(self, envelope: Envelope) -> TurnResult | None:
        """Take a message of the server; returns the turn that it belongs to.

        Raises InvalidMessageError when its data is not what its type promises.
        """
        if self._end_id is not None and envelope.id == self._end_id:
            self._is_heard = True
        match envelope.type:
            case "speech_started" | "speech_stopped":
                return self._turn(decode_data(envelope.data, Turn).turn_id)
            case "transcript":
                return self._transcript(decode_data(envelope.data, Transcript))
            case "response_started":
                started = decode_data(envelope.data, ResponseStarted)
                turn = self._turn(started.turn_id)
                turn.response_id = started.response_id
                return turn
            case "llm_response":
                return self._answer(decode_data(envelope.data, LlmResponse))
            case "audio_chunk":
                return self._audio(decode_data(envelope.data, AudioChunk))
            case "response_done":
                done = decode_data(envelope.data, ResponseDone)
                turn = self._turn(done.turn_id)
                turn.status = done.status
                return turn
            case "metrics":
                metrics = decode_data(envelope.data, TurnMetrics)
                turn = self._turn(metrics.turn_id)
                turn.metrics = metrics
                return turn
            case "error":
                return self._error(decode_data(envelope.data, ErrorData))
        return None

    def _turn(self, turn_id: str) -> TurnResult:
        return self.turns.setdefault(turn_id, TurnResult(turn_id))

    def _answering(self, response_id: str | None) -> TurnResult | None:
        for turn in self.turns.values():
            if turn.response_id == response_id is not None:
                return turn
        return None

    def _transcript(self, transcript: Transcript) -> TurnResult | None:
        if transcript.turn_id is None:
            return None
        turn = self._turn(transcript.turn_id)
        turn.transcript = transcript.text
        return turn

    def _answer(self, response: LlmResponse) -> TurnResult | None:
        turn = self._answering(response.response_id)
        if turn is not None:
            turn.answer = response.text
        return turn

    def _audio(self, chunk: AudioChunk) -> TurnResult | None:
        turn = self._answering(chunk.response_id)
        if turn is None:
            return None
        try:
            form = AudioFormat.of(chunk.encoding or Encoding.PCM16, chunk.sample_rate or 16_000, 1)
            audio = base64.b64decode(chunk.audio_data, validate=True)
        except UnsupportedFormatError as error:
            raise InvalidMessageError(f"{error} - at `$.data`") from None
        except binascii.Error:
            raise InvalidMessageError("not base64 - at `$.data.audioData`") from None
        turn.audio += mulaw_to_pcm16(audio) if form.encoding is Encoding.MULAW else audio
        turn.sample_rate_hz = form.sample_rate_hz
        turn.is_spoken = chunk.is_last
        return turn

    def _error(self, error: ErrorData) -> TurnResult | None:
        turn_id = (error.details or {}).get("turnId")
        if not isinstance(turn_id, str):
            self.errors.append(error)
            return None
        turn = self._turn(turn_id)
        turn.error = error
        return turn

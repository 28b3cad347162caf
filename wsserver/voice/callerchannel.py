"""The way to one caller: every message that the voice app sends of its own accord goes through here.

What was said and answered goes to the caller's session, where it can be recovered; the rest to its connection alone.
"""

from __future__ import annotations

import base64

from wscore.audio import AudioFormat
from wscore.codes import ErrorCode
from wscore.messages import UNCOUNTED_TYPES
from wscore.payloads import AudioChunk, Payload, Transcript
from wsserver.sdk.hub import Hub
from wsserver.telemetry.logs import EventLog
from wsserver.voice.stages import StageError


class CallerChannel:
    """Sends to the connection of one caller; what is sent after its end goes nowhere."""

    __slots__ = ("_hub", "_log", "_sequence_number", "_session_id", "connection_id")

    def __init__(self, hub: Hub, connection_id: str, session_id: str, log: EventLog) -> None:
        self._hub = hub
        self.connection_id = connection_id
        self._session_id = session_id
        self._log = log
        self._sequence_number = 0

    def send(self, type: str, data: Payload) -> None:
        """Send one message, to the session if it is worth a place in its history."""
        if type in UNCOUNTED_TYPES:
            self._hub.send(self.connection_id, type, data)
        else:
            self._hub.publish(type, data, session=self._session_id)

    def partial_transcript(self, turn_id: str, text: str) -> None:
        """Send what was understood so far; a slow reader may miss it."""
        self._hub.send(self.connection_id, "transcript", Transcript(text, False, turn_id), lossy=True)

    def audio(self, response_id: str, audio: bytes, form: AudioFormat, *, is_last: bool) -> None:
        """Send a piece of an answer's voice, numbered over the whole connection; a slow reader may miss it."""
        chunk = AudioChunk(
            base64.b64encode(audio).decode(),
            self._sequence_number,
            response_id,
            form.encoding.value,
            form.sample_rate_hz,
            is_last,
        )
        self._sequence_number += 1
        self._hub.send(self.connection_id, "audio_chunk", chunk, lossy=True)

    def error(self, code: ErrorCode, message: str, details: dict[str, object] | None = None) -> None:
        """Send an error that answers no single message."""
        self._hub.send_error(self.connection_id, code, message, details)

    def failed(self, error: StageError, turn_id: str | None) -> None:
        """Tell the caller that a stage failed at a turn, and the operator what went wrong."""
        self._log.warning(
            "voice.failed", connection=self.connection_id, turn=turn_id or "", stage=error.stage, problem=error.problem
        )
        details: dict[str, object] = {"stage": error.stage}
        if turn_id is not None:
            details["turnId"] = turn_id
        self.error(ErrorCode.PROCESSING_ERROR, "The voice service failed. Please try again.", details)

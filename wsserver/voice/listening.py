"""Hearing a caller: from messages with audio to turns, which are recognised while they are spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from wscore.audio import AudioFormat
from wscore.codes import ErrorCode
from wscore.payloads import AudioChunk, AudioStart, Turn
from wsserver.sdk.context import Context
from wsserver.voice.answering import NOT_UNDERSTOOD, Answering, CallerTurn
from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.intake import Intake, IntakeError, NewSegment
from wsserver.voice.pipeline import Pipeline, Tasks
from wsserver.voice.stages import Activity, StageError
from wsserver.voice.turns import SpeechHeard, TurnAudio, TurnDetector, TurnEnded, TurnEvent, TurnStarted
from wsserver.voice.utterance import Utterance

MIN_COMMIT_MS: Final = 100
_BYTES_PER_MS: Final = 32  # pcm16, 16 kHz, mono
_MAX_FRAMES: Final = 8  # heard in one go, a quarter of a second: then other callers get their turn
_REPORT_EVERY_S: Final = 1.0  # a detector that stays broken fails at every chunk


class Listening:
    """Hears one caller's audio in order. A turn begins and ends here; its text is waited for elsewhere."""

    def __init__(
        self,
        pipeline: Pipeline,
        channel: CallerChannel,
        tasks: Tasks,
        answering: Answering,
        next_turn_id: Callable[[], str],
    ) -> None:
        self._pipeline = pipeline
        self._channel = channel
        self._tasks = tasks
        self._answering = answering
        self._next_turn_id = next_turn_id
        self._intake = Intake()
        self._frame_bytes = pipeline.stages.activity.frame_bytes
        self._detector = TurnDetector(pipeline.turns, self._frame_bytes / _BYTES_PER_MS)
        self._activity: Activity | None = None
        self._pending = bytearray()
        self._turn: CallerTurn | None = None
        self._utterance: Utterance | None = None
        self._speech_came_s = 0.0
        self._reported_s: float | None = None
        self._heard_ms = 0.0
        self._turn_ended = False

    @property
    def answer_format(self) -> AudioFormat:
        """The format in which the caller wants to hear answers."""
        return self._intake.answer_format

    @property
    def is_in_turn(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._turn is not None

    async def start(self, ctx: Context, data: AudioStart) -> None:
        """Take the format of the audio that follows; a turn does not go on into it."""
        try:
            rest = self._intake.start(data)
        except IntakeError as error:
            ctx.error(error.code, str(error))
            return
        await self._hear(b"".join(rest), self._speech_came_s)
        await self._end_segment()

    async def chunk(self, ctx: Context, data: AudioChunk, came_s: float) -> None:
        """Hear a chunk of audio that came at `came_s`."""
        try:
            parts = self._intake.chunk(data, in_turn=self.is_in_turn)
        except IntakeError as error:
            ctx.error(error.code, str(error))
            return
        for part in parts:
            if isinstance(part, NewSegment):
                await self._end_segment()
            else:
                await self._hear(part, came_s)

    async def commit(self, ctx: Context) -> None:
        """End the turn because the caller says so; an error if there was none.

        A message with an id is answered once all audio before it is heard.
        """
        await self._hear(b"".join(self._intake.end()), self._speech_came_s)
        heard_ms, self._heard_ms = self._heard_ms, 0.0
        had_turn = self._turn is not None or self._turn_ended
        await self._end_segment()
        self._turn_ended = False
        if had_turn:
            if ctx.request_id is not None:
                ctx.reply("audio_end")
        elif heard_ms < MIN_COMMIT_MS:
            ctx.error(ErrorCode.AUDIO_TOO_SHORT, f"The turn ended after less than {MIN_COMMIT_MS} ms of audio.")
        else:
            ctx.error(ErrorCode.ASR_ERROR, NOT_UNDERSTOOD)

    async def clear(self) -> None:
        """Forget the turn that has not ended, and what was heard before one."""
        if self._utterance is not None:
            self._utterance.drop()
        self._intake.end()
        await self._end_segment()
        self._heard_ms = 0.0
        self._turn_ended = False

    async def end_turn(self) -> None:
        """End the turn, if there is one, as though silence had."""
        await self._hear(b"".join(self._intake.end()), self._speech_came_s)
        await self._end_segment()

    async def close(self) -> None:
        """Let go of the detector."""
        activity, self._activity = self._activity, None
        if activity is not None:
            with suppress(StageError):  # its work is over, well or not
                await self._pipeline.calls.call(self._pipeline.stages.activity.name, activity.close())

    async def _end_segment(self) -> None:
        """Let nothing that comes continue what was heard."""
        await self._feed(self._pending)
        self._pending.clear()
        await self._take(self._detector.end())

    async def _hear(self, pcm: bytes, came_s: float) -> None:
        self._heard_ms += len(pcm) / _BYTES_PER_MS
        self._pending += pcm
        size = self._frame_bytes
        while count := min(len(self._pending) // size, _MAX_FRAMES):
            batch = bytes(self._pending[: count * size])
            del self._pending[: count * size]
            try:
                probabilities = await self._probabilities(batch)
            except StageError as error:
                await self._recognizer_failed(error)
                return
            events: list[TurnEvent] = []
            for number, probability in enumerate(probabilities):
                events += self._detector.feed(batch[number * size : (number + 1) * size], probability)
            await self._take(events, came_s)
            await asyncio.sleep(0)

    async def _probabilities(self, batch: bytes) -> Sequence[float]:
        calls, detector = self._pipeline.calls, self._pipeline.stages.activity
        if self._activity is None:
            self._activity = await calls.call(detector.name, detector.start())
        return await calls.call(detector.name, self._activity.feed(batch))

    async def _recognizer_failed(self, error: StageError) -> None:
        """Give up the turn and the detector; the next chunk gets another one."""
        turn_id = self._turn.id if self._turn is not None else None
        await self.clear()
        await self.close()
        now_s = self._pipeline.now_s()
        if self._reported_s is None or now_s - self._reported_s >= _REPORT_EVERY_S:
            self._reported_s = now_s
            self._channel.failed(error, turn_id)

    async def _take(self, events: Iterable[TurnEvent], came_s: float | None = None) -> None:
        audio = bytearray()  # in one piece: what waits for the recognizer is counted in pieces
        for event in events:
            match event:
                case TurnStarted():
                    await self._begin(event.audio)
                case TurnAudio():
                    audio += event.audio
                case SpeechHeard():
                    if came_s is not None:
                        self._speech_came_s = came_s
                    if event.duration_ms >= self._pipeline.turns.barge_in_ms:
                        self._answering.interrupt()
                case TurnEnded():
                    await self._feed(audio)
                    audio.clear()
                    await self._end()
        await self._feed(audio)

    async def _feed(self, audio: bytearray) -> None:
        if audio and self._utterance is not None:
            await self._utterance.feed(bytes(audio))

    async def _begin(self, prefix: bytes) -> None:
        turn_id = self._next_turn_id()
        self._channel.send("speech_started", Turn(turn_id))
        self._utterance = Utterance(turn_id, self._pipeline, self._channel, self._tasks)
        self._turn = CallerTurn(turn_id, self._utterance)
        await self._answering.add(self._turn)
        await self._utterance.feed(prefix)

    async def _end(self) -> None:
        turn, utterance, self._turn, self._utterance = self._turn, self._utterance, None, None
        assert turn is not None
        assert utterance is not None
        turn.times.speech_ended_s = self._speech_came_s
        turn.times.decided_s = self._pipeline.now_s()
        self._channel.send("speech_stopped", Turn(turn.id))
        await utterance.end()
        self._turn_ended = True

"""One answer on its way to the caller: text from the responder, sentence by sentence through the synthesizer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

from wscore.audio import AudioFormat
from wscore.payloads import AudioCancelled, Payload, ResponseDone, ResponseStarted, ResponseStatus
from wsserver.voice.answertext import AnswerText
from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.conversation import Conversation
from wsserver.voice.pipeline import Pipeline, Tasks
from wsserver.voice.playback import Playback
from wsserver.voice.sentences import SentenceSplitter
from wsserver.voice.speech import SpeechSender
from wsserver.voice.stagecalls import problem_of
from wsserver.voice.stages import Role, StageError
from wsserver.voice.timing import TurnTimes

MAX_ANSWER_CHARS: Final = 16_000  # a responder that does not stop is stopped here
MAX_WAITING_SENTENCES: Final = 16


class Answer:
    """Made, spoken and, by the clock, played; then it has ended, and whatever is still under way is not heard of.

    It sends `response_started` first and `response_done` last, and adds to the conversation what was spoken.
    """

    __slots__ = (
        "_channel",
        "_conversation",
        "_is_heard",
        "_pipeline",
        "_playback",
        "_sentences",
        "_speech",
        "_task",
        "_text",
        "_thought",
        "_times",
        "_turn_id",
        "has_ended",
        "id",
    )

    def __init__(
        self,
        response_id: str,
        turn_id: str,
        times: TurnTimes,
        pipeline: Pipeline,
        conversation: Conversation,
        channel: CallerChannel,
        form: AudioFormat,
        tasks: Tasks,
    ) -> None:
        """Begin to answer the conversation's last entry."""
        self.id = response_id
        self.has_ended = False
        self._is_heard = True
        self._thought = asyncio.Event()
        self._turn_id = turn_id
        self._times = times
        self._pipeline = pipeline
        self._conversation = conversation
        self._channel = channel
        self._text = AnswerText(response_id, lambda data: self._send("llm_response", data))
        self._sentences = asyncio.Queue[str | None](MAX_WAITING_SENTENCES)
        self._playback = Playback(pipeline.now_s)

        def send_audio(audio: bytes, is_last: bool) -> None:
            if not self.has_ended:
                channel.audio(response_id, audio, form, is_last=is_last)
                self._audio_went_out()

        rate_hz = pipeline.stages.synthesizer.sample_rate_hz
        self._speech = SpeechSender(rate_hz, form, self._playback, send_audio, pipeline.sleep)
        self._send("response_started", ResponseStarted(response_id, turn_id))
        self._task = tasks.start(self._run())

    def cancel(self, played_ms: int | None = None) -> None:
        """End it now, the listener having heard `played_ms` of it; worked out by the clock if they do not say."""
        if self.has_ended:
            return
        heard_ms = self._playback.played_ms(played_ms)
        self._send("audio_cancelled", AudioCancelled(self.id, heard_ms))
        self._end(ResponseStatus.CANCELLED, self._playback.spoken(heard_ms))
        self._task.cancel()

    async def finish_unheard(self, timeout_s: float) -> None:
        """Go on as text alone, for a caller who is lost and may come back; it has ended when that is whole."""
        self._is_heard = False
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._thought.wait()
            if not self.has_ended:
                self._end(ResponseStatus.COMPLETED, self._text.text)

    async def gone(self, timeout_s: float) -> None:
        """Return when nothing of it runs any more; a stage that will not be cancelled is not waited for longer."""
        await asyncio.wait((self._task,), timeout=timeout_s)

    async def _run(self) -> None:
        status = ResponseStatus.COMPLETED
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._think())
                group.create_task(self._speak())
        except ExceptionGroup as errors:
            status = ResponseStatus.FAILED
            self._fail(errors.exceptions[0])
        await self._played_out()
        if not self.has_ended:
            completed = status is ResponseStatus.COMPLETED
            self._end(status, self._text.text if completed else self._playback.spoken(self._playback.sent_ms))

    async def _think(self) -> None:
        responder = self._pipeline.stages.responder
        history = self._conversation.history()
        splitter = SentenceSplitter()
        pieces = self._pipeline.calls.stream(responder.name, partial(responder.respond, history))
        async with aclosing(pieces):
            async for piece in pieces:
                if not piece:
                    continue
                if self._times.first_text_s is None:
                    self._times.first_text_s = self._pipeline.now_s()
                piece = piece[: MAX_ANSWER_CHARS - len(self._text.text)]
                self._text.add(piece)
                for sentence in splitter.feed(piece):
                    await self._say(sentence)
                if len(self._text.text) >= MAX_ANSWER_CHARS:
                    break
        self._text.finish()
        self._thought.set()
        for sentence in splitter.finish():
            await self._say(sentence)
        await self._sentences.put(None)

    async def _say(self, sentence: str) -> None:
        if self._is_heard and any(map(str.isalnum, sentence)):
            if self._times.first_sentence_s is None:
                self._times.first_sentence_s = self._pipeline.now_s()
            await self._sentences.put(sentence)

    async def _speak(self) -> None:
        synthesizer = self._pipeline.stages.synthesizer
        while (sentence := await self._sentences.get()) is not None:
            if not self._is_heard:
                continue
            self._speech.sentence(sentence)
            pieces = self._pipeline.calls.stream(synthesizer.name, partial(synthesizer.synthesize, sentence))
            async with aclosing(pieces):
                async for pcm in pieces:
                    await self._speech.feed(pcm)
            await self._speech.sentence_done(goes_on=not self._sentences.empty())
        await self._speech.finish()

    async def _played_out(self) -> None:
        while (left_ms := self._playback.left_ms()) > 0:
            await self._pipeline.sleep(left_ms / 1000)

    def _audio_went_out(self) -> None:
        if self._times.first_audio_s is None:
            self._times.first_audio_s = self._pipeline.now_s()
            self._send("metrics", self._times.metrics(self._turn_id))

    def _fail(self, error: Exception) -> None:
        if not self.has_ended:
            self._text.close()
            known = error if isinstance(error, StageError) else StageError("answer", problem_of(error))
            self._channel.failed(known, self._turn_id)

    def _end(self, status: ResponseStatus, spoken: str) -> None:
        self._text.close()
        if self._times.first_audio_s is None:
            self._send("metrics", self._times.metrics(self._turn_id))
        self._send("response_done", ResponseDone(self.id, self._turn_id, status))
        self._conversation.add(Role.ASSISTANT, spoken)
        self.has_ended = True
        self._thought.set()

    def _send(self, type: str, data: Payload) -> None:
        if not self.has_ended:
            self._channel.send(type, data)

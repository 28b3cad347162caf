"""One caller of the voice app: what comes in is heard in order, what is asked is answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from wscore.codes import ErrorCode
from wscore.payloads import AudioChunk, AudioStart, Interrupt, TextInput
from wsserver.sdk.context import Context
from wsserver.voice.answering import Answering, CallerTurn, SessionNumbers
from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.listening import Listening
from wsserver.voice.pipeline import Pipeline, Tasks
from wsserver.voice.stagecalls import problem_of
from wsserver.voice.stages import StageError
from wsserver.voice.timing import TurnTimes

MAX_WAITING_MESSAGES: Final = 16
MAX_TEXT_CHARS: Final = 4_000
# A client that stops sending in mid-turn, as when its key is let go, has fallen silent: so long after the last audio.
_IDLE_MS: Final = 1_000

Step = Callable[[], Awaitable[None]]


class Caller:
    """Takes the messages of one connection. All of its work ends with `close`."""

    __slots__ = (
        "_answering",
        "_channel",
        "_idle_s",
        "_inbox",
        "_listening",
        "_pipeline",
        "_tasks",
        "_timeout_s",
        "numbers",
    )

    def __init__(self, pipeline: Pipeline, channel: CallerChannel, timeout_s: float, numbers: SessionNumbers) -> None:
        self._pipeline = pipeline
        self._channel = channel
        self._timeout_s = timeout_s
        self._idle_s = (pipeline.turns.end_silence_ms + _IDLE_MS) / 1000
        self.numbers = numbers
        self._tasks = Tasks()
        self._inbox = asyncio.Queue[Step](MAX_WAITING_MESSAGES)
        self._answering = Answering(
            pipeline, channel, self._tasks, lambda: self._listening.answer_format, timeout_s, numbers
        )
        self._listening = Listening(pipeline, channel, self._tasks, self._answering, numbers.turn_id)
        self._tasks.start(self._answering.run())
        self._tasks.start(self._hear())

    async def audio_start(self, ctx: Context, data: AudioStart) -> None:
        """Change the format of the audio that follows."""
        await self._inbox.put(lambda: self._listening.start(ctx, data))

    async def audio_chunk(self, ctx: Context, data: AudioChunk) -> None:
        """Take audio; waits while enough of it is not heard yet."""
        came_s = self._pipeline.now_s()
        await self._inbox.put(lambda: self._listening.chunk(ctx, data, came_s))

    async def audio_end(self, ctx: Context) -> None:
        """End the turn without waiting for silence."""
        await self._inbox.put(lambda: self._listening.commit(ctx))

    async def audio_clear(self) -> None:
        """Forget the turn that has not ended."""
        await self._inbox.put(self._listening.clear)

    async def text_input(self, ctx: Context, data: TextInput) -> None:
        """Take a typed turn; what was spoken before it is answered before it."""
        text = data.text.strip()
        if not text or len(text) > MAX_TEXT_CHARS:
            ctx.error(ErrorCode.INVALID_MESSAGE, f"A text of 1 to {MAX_TEXT_CHARS} characters - at `$.data.text`")
            return
        times = TurnTimes(text_s=self._pipeline.now_s())
        await self._inbox.put(lambda: self._answering.add(CallerTurn(self.numbers.turn_id(), text, times)))

    def interrupt(self, data: Interrupt) -> None:
        """End the answer now, before all that waits."""
        self._answering.interrupt(data.response_id, data.played_ms)

    async def close(self, *, is_lost: bool = False) -> None:
        """Cancel everything that is done for this caller; returns when it has ended.

        Of one that `is_lost` the answer under way is finished as text, within a stage's time: whoever comes back to
        the session finds it.
        """
        if is_lost:
            await self._answering.finish_unheard(self._timeout_s)
        self._answering.interrupt()
        await self._tasks.cancel(self._timeout_s)
        await self._listening.close()

    async def _hear(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._idle_s if self._listening.is_in_turn else None):
                    step = await self._inbox.get()
            except TimeoutError:
                step = self._listening.end_turn
            try:
                await step()
            except Exception as error:  # a fault of this code costs a message, not all that follow
                self._channel.failed(StageError("listening", problem_of(error)), None)

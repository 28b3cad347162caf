"""One spoken turn on its way to text, beside the hearing of the next one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.pipeline import Pipeline, Tasks
from wsserver.voice.stages import Recognition, StageError

MAX_WAITING_PIECES: Final = 32  # pieces of at most a quarter of a second; then the hearing waits
_MAX_BATCH_BYTES: Final = 32_000  # a second: what waited is recognised in one go, but within a stage's time


class Utterance:
    """Takes a turn's audio and recognises it in a task of its own; partial texts go to the caller at once."""

    __slots__ = ("_audio", "_channel", "_ended", "_is_open", "_pipeline", "_task", "turn_id")

    def __init__(self, turn_id: str, pipeline: Pipeline, channel: CallerChannel, tasks: Tasks) -> None:
        self.turn_id = turn_id
        self._pipeline = pipeline
        self._channel = channel
        self._audio = asyncio.Queue[bytes | None](MAX_WAITING_PIECES)
        self._is_open = True
        self._ended = False
        self._task = tasks.start(self._recognise())

    async def feed(self, pcm: bytes) -> None:
        """Take more audio; waits while too much of it is not recognised yet."""
        if self._is_open:
            await self._audio.put(pcm)

    async def end(self) -> None:
        """Note that this was all."""
        if self._is_open:
            await self._audio.put(None)

    def drop(self) -> None:
        """Give the turn up: it has no text, and no more partial ones."""
        self._close()
        self._task.cancel()

    async def text(self) -> str | None:
        """Return what was said, empty if nothing was understood, None if it was dropped; raises StageError."""
        await asyncio.wait((self._task,))
        return None if self._task.cancelled() else self._task.result()

    async def _recognise(self) -> str:
        calls, recognizer = self._pipeline.calls, self._pipeline.stages.recognizer
        recognition: Recognition | None = None
        latest = ""
        try:
            recognition = await calls.call(recognizer.name, recognizer.start())
            while pcm := await self._next():
                partial = await calls.call(recognizer.name, recognition.feed(pcm))
                if partial and partial != latest and self._is_open:
                    latest = partial
                    self._channel.partial_transcript(self.turn_id, partial)
            return (await calls.call(recognizer.name, recognition.finish())).strip()
        finally:
            self._close()
            if recognition is not None:
                with suppress(StageError):  # its work is over, well or not
                    await calls.call(recognizer.name, recognition.close())

    async def _next(self) -> bytes | None:
        """Return what has come since the last call, None at the end."""
        if self._ended:
            return None
        batch = bytearray()
        while not batch or (not self._audio.empty() and len(batch) < _MAX_BATCH_BYTES):
            pcm = await self._audio.get()
            if pcm is None:
                self._ended = True
                break
            batch += pcm
        return bytes(batch)

    def _close(self) -> None:
        self._is_open = False
        while not self._audio.empty():  # lets go of a feed that waits for room
            self._audio.get_nowait()

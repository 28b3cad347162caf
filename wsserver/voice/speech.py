"""An answer's voice on its way to the caller: in the caller's format, in pieces, and not too far ahead of its ears."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from wscore.audio import AudioFormat
from wsserver.voice.playback import Playback
from wsserver.voice.resampling import Encoder

CHUNK_MS: Final = 100
# What is sent is lost when the answer is cancelled, so no more of it than carries a client over a bad network.
MAX_AHEAD_MS: Final = 5_000
_SILENCE_MS: Final = 20
_SLICE_MS: Final = 500  # encoding this much takes a few ms; other callers get their turn in between


class SpeechSender:
    """Takes a synthesizer's pcm16, sentence by sentence, and sends it; waits while enough is ahead.

    `send` gets the audio of one chunk and whether it is the last.
    """

    __slots__ = ("_buffer", "_encoder", "_format", "_playback", "_produced_ms", "_rate_hz", "_send", "_sleep")

    def __init__(
        self,
        rate_hz: int,
        form: AudioFormat,
        playback: Playback,
        send: Callable[[bytes, bool], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._rate_hz = rate_hz
        self._format = form
        self._encoder = Encoder(rate_hz, form)
        self._playback = playback
        self._send = send
        self._sleep = sleep
        self._buffer = bytearray()
        self._produced_ms = 0.0

    def sentence(self, text: str) -> None:
        """Begin with a sentence."""
        self._playback.sentence(text, self._produced_ms)

    async def feed(self, pcm: bytes) -> None:
        """Take more of the sentence's audio."""
        step = self._rate_hz * 2 * _SLICE_MS // 1000 // 2 * 2
        for start in range(0, len(pcm), step):
            self._produce(self._encoder.encode(pcm[start : start + step]))
            await self._send_chunks()

    async def sentence_done(self, *, goes_on: bool) -> None:
        """End the sentence; unless the next one is at hand, what fills no chunk is sent too."""
        self._playback.sentence_done(self._produced_ms)
        if not goes_on and self._buffer:
            await self._send_chunk(bytes(self._buffer))

    async def finish(self) -> None:
        """Send what is left, marked as the last; nothing when there was no audio at all."""
        self._produce(self._encoder.finish())
        await self._send_chunks()
        if self._buffer:
            await self._send_chunk(bytes(self._buffer), is_last=True)
        elif self._produced_ms:
            # All is sent already, and a chunk without audio is one that some players refuse.
            silence = Encoder(self._format.sample_rate_hz, self._format)
            audio = silence.encode(bytes(self._format.sample_rate_hz * _SILENCE_MS // 1000 * 2))
            await self._send_chunk(audio, is_last=True)

    def _produce(self, audio: bytes) -> None:
        self._buffer += audio
        self._produced_ms += self._format.duration_ms(len(audio))

    async def _send_chunks(self) -> None:
        size = self._format.size_bytes(CHUNK_MS)
        while len(self._buffer) > size:  # not when equal: that may be the last one
            await self._send_chunk(bytes(self._buffer[:size]))

    async def _send_chunk(self, audio: bytes, *, is_last: bool = False) -> None:
        del self._buffer[: len(audio)]
        duration_ms = self._format.duration_ms(len(audio))
        while (excess_ms := self._playback.left_ms() + duration_ms - MAX_AHEAD_MS) >= 1:
            await self._sleep(excess_ms / 1000)
        self._playback.sent(duration_ms)
        self._send(audio, is_last)
        await asyncio.sleep(0)

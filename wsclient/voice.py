"""Conversations by voice: sends speech as a microphone would, and gathers what comes back.

The command line uses `Talk` on a client of its own; the terminal client uses `send_speech` alone.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from wsclient.client import Client
from wsclient.errors import NoReplyError
from wscore.envelope import Envelope
from wscore.exchange import CHUNK_MS, Exchange, audio_chunks, audio_start
from wscore.payloads import TextInput
from wscore.wav import Wav

# Longer than the silence that ends a turn, so that it is the server that finds the end, as it would of a microphone.
TRAILING_SILENCE_MS: Final = 800
DEFAULT_TIMEOUT_S: Final = 30.0


async def send_speech(
    client: Client,
    wav: Wav,
    *,
    end_id: str | None = None,
    in_real_time: bool = True,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> float:
    """Send audio, silence after it and `audio_end`, in real time or at once; returns when its last sample was sent.

    Raises NotConnectedError.
    """
    await client.send("audio_start", audio_start(wav.form))
    silence = bytes(wav.form.size_bytes(TRAILING_SILENCE_MS))
    spoken_chunks = sum(1 for _ in audio_chunks(wav.form, wav.audio))
    began_s = ended_s = now_s()
    for number, chunk in enumerate(audio_chunks(wav.form, wav.audio + silence), start=1):
        if in_real_time:
            # A chunk exists when its last sample was heard; by the clock, so that no delay adds up.
            await sleep(max(began_s + number * CHUNK_MS / 1000 - now_s(), 0))
        await client.send("audio_chunk", chunk)
        if number == spoken_chunks:
            ended_s = now_s()
    await client.send("audio_end", id=end_id)
    return ended_s


class Talk:
    """One question, spoken or typed, and its answers; `exchange` has what came so far, whatever was raised.

    `timeout_s` is how long to wait for the next message about it once the question is out. `receive` returns the next
    message, by default from the client's inbox.
    """

    def __init__(
        self,
        client: Client,
        *,
        receive: Callable[[], Awaitable[Envelope]] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._client = client
        self._receive = receive or client.receive
        self._timeout_s = timeout_s
        self._asked_s: float | None = None
        self._answered_s: float | None = None
        self.exchange = Exchange()

    @property
    def wait_ms(self) -> float | None:
        """From the question's end, the silence after it not counted, to the first audio; None without one of them."""
        if self._asked_s is None or self._answered_s is None or self._answered_s < self._asked_s:
            return None
        return (self._answered_s - self._asked_s) * 1000

    async def speak(self, wav: Wav, *, in_real_time: bool = True) -> None:
        """Send speech and return when everything about it has come.

        Raises NoReplyError, ConnectionClosedError, and InvalidMessageError for a message that is not what its type
        promises.
        """
        end_id = uuid.uuid4().hex
        self.exchange = Exchange(end_id)
        sending = asyncio.ensure_future(send_speech(self._client, wav, end_id=end_id, in_real_time=in_real_time))
        try:
            await self._listen(sending)
            self._asked_s = await sending
        finally:
            sending.cancel()
            await asyncio.wait((sending,))

    async def type(self, text: str) -> None:
        """Send text and return when everything about it has come; raises as `speak` does."""
        self.exchange = Exchange()
        await self._client.send("text_input", TextInput(text))
        self._asked_s = time.monotonic()
        await self._listen(None)

    async def _listen(self, sending: asyncio.Future[float] | None) -> None:
        limit = asyncio.timeout(None if sending else self._timeout_s)

        def extend(_: object = None) -> None:
            failed = sending is not None and sending.done() and sending.exception() is not None
            limit.reschedule(asyncio.get_running_loop().time() + (0 if failed else self._timeout_s))

        if sending is not None:
            sending.add_done_callback(extend)
        try:
            async with limit:
                while not self.exchange.has_ended:
                    turn = self.exchange.take(await self._receive())
                    if turn is None:
                        continue
                    if self._answered_s is None and turn.audio:
                        self._answered_s = time.monotonic()
                    if sending is None or sending.done():
                        extend()
        except TimeoutError:
            if sending is not None and sending.done():
                await sending  # raises why it failed, if it did
            raise NoReplyError("end of the answer", self._timeout_s) from None
        finally:
            if sending is not None:
                sending.remove_done_callback(extend)

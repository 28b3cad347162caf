"""Speech over a connection: a WAV file in, the answer saved and played; loaded when somebody first speaks."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from wsclient.tui.io.editing import MAX_FILE_BYTES
from wsclient.tui.io.live import LiveConnection
from wsclient.tui.io.sending import Say
from wscore.errors import ConfigError, WsctlError
from wscore.exchange import Exchange
from wscore.text import neutralise
from wscore.wav import Wav, read_wav, write_wav

# Programs that play a WAV file, with what keeps them quiet about it.
PLAYERS: Final = (("pw-play",), ("paplay",), ("aplay", "-q"), ("afplay",), ("play", "-q"))


def speech_of_file(path: Path) -> Wav:
    """Return what a WAV file holds; raises ConfigError and WavError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(str(path), "is larger than 64 MiB")
        return read_wav(path.read_bytes())
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None


class Speaker:
    """Sends speech over a connection, saves the answer, and plays it where there is a program that can."""

    def __init__(self, live: LiveConnection, say: Say) -> None:
        self._live = live
        self._say = say
        self._player: asyncio.subprocess.Process | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def speak(self, wav: Wav) -> None:
        """Send it as a microphone would and wait for the answer; cancelling it interrupts the answer too."""
        self._speaking = asyncio.current_task()
        if wav.missing_ms:
            self._say(f"the file ends {wav.missing_ms / 1000:.1f} s too soon; what is there is sent", "warning")
        exchange = Exchange()
        try:
            talk = self._live.talk()
            try:
                await talk.speak(wav)
            finally:
                exchange = talk.exchange
        except asyncio.CancelledError:
            with suppress(WsctlError):
                await self._live.stop_talking()
            raise
        except WsctlError as error:
            self._say(str(error), "error")
        finally:
            self._speaking = None
            self._live.end_talk()
        await self._take(exchange)

    @property
    def is_speaking(self) -> bool:
        """Whether speech is being sent, or its answer waited for."""
        return self._speaking is not None

    def stop(self) -> bool:
        """Stop speaking, and playing an answer; returns whether somebody was speaking."""
        self.stop_playing()
        if self._speaking is None:
            return False
        self._speaking.cancel()
        return True

    def stop_playing(self) -> None:
        """End the program that plays an answer."""
        player, self._player = self._player, None
        if player is not None and player.returncode is None:
            with suppress(ProcessLookupError):
                player.kill()

    async def _take(self, exchange: Exchange) -> None:
        """Tell what was understood and answered, save the answer and play it."""
        for turn in exchange.turns.values():
            if turn.answer:
                heard, answered = neutralise(turn.transcript), neutralise(turn.answer)
                self._say(f"heard: {heard}\nanswered: {answered}", "information")
        for error in (*exchange.errors, *(turn.error for turn in exchange.turns.values() if turn.error is not None)):
            self._say(neutralise(f"{error.code}: {error.message}"), "error")
        reply = exchange.reply
        if reply is None:
            return
        try:
            path = _save(reply)
        except OSError as error:
            self._say(f"the answer is not saved: {error.strerror}", "error")
            return
        player = await self._play(path)
        playing = "" if player is None else f"; {player} plays it"
        self._say(f"the answer, {reply.duration_ms / 1000:.1f} s, is in {path}{playing}", "information")

    async def _play(self, name: str) -> str | None:
        """Play a file; returns the program that does, None if there is none."""
        self.stop_playing()
        for program, *options in PLAYERS:
            if (found := shutil.which(program)) is not None:
                nothing = asyncio.subprocess.DEVNULL
                self._player = await asyncio.create_subprocess_exec(
                    found, *options, name, stdin=nothing, stdout=nothing, stderr=nothing
                )
                return program
        return None


def _save(reply: Wav) -> str:
    """Write an answer to a new file named by the time, and return its name; raises OSError."""
    name = time.strftime("wsctl-reply-%Y%m%d-%H%M%S.wav")
    Path(name).write_bytes(write_wav(reply))
    return name

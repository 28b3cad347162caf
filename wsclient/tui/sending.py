"""What the main screen sends: messages, files of them, and speech; problems are said, never raised."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from wsclient.errors import NotConnectedError
from wsclient.outgoing import outgoing_frame
from wsclient.templates import TemplateContext, TemplateError, expand
from wsclient.tui.history import Draft
from wsclient.tui.link import Link
from wscore.envelope import MessageProtocol
from wscore.errors import WsctlError
from wscore.exchange import Exchange
from wscore.text import neutralise
from wscore.wav import Wav, write_wav

# Programs that play a WAV file, with what keeps them quiet about it.
PLAYERS: Final = (("pw-play",), ("paplay",), ("aplay", "-q"), ("afplay",), ("play", "-q"))

Say = Callable[[str, str], None]  # a text and its severity


class Sender:
    """Sends drafts over a link."""

    def __init__(self, link: Link, protocol: MessageProtocol, templates: TemplateContext, say: Say) -> None:
        self._link = link
        self._protocol = protocol
        self._templates = templates
        self._say = say

    async def send(self, draft: Draft) -> bool:
        """Send one message; returns whether it went out."""
        try:
            text = expand(draft.text, self._templates)
            await self._link.send(outgoing_frame(text, draft.type, self._protocol))
        except (TemplateError, NotConnectedError) as error:
            self._say(str(error), "error")
            return False
        return True

    async def send_all(self, drafts: list[Draft]) -> None:
        """Send messages up to the first that does not go out."""
        for number, draft in enumerate(drafts, 1):
            if not await self.send(draft):
                self._say(f"stopped after {number - 1} of {len(drafts)} messages", "error")
                return
        self._say(f"sent {len(drafts)} messages", "information")


class Speaker:
    """Sends speech over a link, saves the answer, and plays it where there is a program that can."""

    def __init__(self, link: Link, say: Say) -> None:
        self._link = link
        self._say = say
        self._player: asyncio.subprocess.Process | None = None
        self.is_speaking = False

    async def speak(self, wav: Wav) -> None:
        """Send it as a microphone would and wait for the answer; cancelling it interrupts the answer too."""
        self.is_speaking = True
        exchange = Exchange()
        try:
            talk = self._link.talk()
            try:
                await talk.speak(wav)
            finally:
                exchange = talk.exchange
        except asyncio.CancelledError:
            with suppress(WsctlError):
                await self._link.stop_talking()
            raise
        except WsctlError as error:
            self._say(str(error), "error")
        finally:
            self.is_speaking = False
            self._link.hang_up()
        await self._take(exchange)

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

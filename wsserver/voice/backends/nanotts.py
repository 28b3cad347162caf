"""Speech with SVOX Pico as NanoTTS builds it: small, fast, six voices in the package."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from wscore.errors import ConfigError
from wsserver.voice.workers.pool import Pool

if TYPE_CHECKING:
    from py_nanotts import NanoTTS

NAME: Final = "nanotts"
SAMPLE_RATE_HZ: Final = 16_000
PIECE_BYTES: Final = 6400  # 200 ms: what is cancelled stops soon, and what is not comes in few messages

# Pico speaks a text as a whole, about 150 times as fast as a person: so long a part takes some 0.2 s.
_PART_CHARACTERS: Final = 400
_OPTION: Final = "--voice-name"
_DEFAULT_VOICE: Final = "en-US"


class NanottsSynthesizer:
    """Pico in worker processes: it holds the interpreter's lock while it speaks."""

    def __init__(self, *, voice: str | None = None, workers: int | None = None, timeout_ms: int = 10_000) -> None:
        engine = f"{__name__}:{NanottsEngine.__name__}"
        self.pool = Pool(NAME, engine, {"voice": voice}, size=workers, timeout_ms=timeout_ms)

    @property
    def name(self) -> str:
        """What people call it."""
        return NAME

    @property
    def sample_rate_hz(self) -> int:
        """Pico's own rate."""
        return SAMPLE_RATE_HZ

    async def open(self) -> None:
        """Start the workers; raises ConfigError, for a voice that there is not too."""
        await self.pool.open()

    async def close(self) -> None:
        """End the workers."""
        await self.pool.close()

    async def synthesize(self, text: str) -> AsyncIterator[bytes]:
        """Yield the speech in pieces of 200 ms, nothing for a text without a letter or digit; raises StageError."""
        parts = speakable(text)
        if not parts:
            return
        stream = await self.pool.start()
        try:
            for part in parts:
                pcm = await stream.call("speak", part.encode())
                for start in range(0, len(pcm), PIECE_BYTES):
                    yield pcm[start : start + PIECE_BYTES]
        finally:
            stream.close()


def speakable(text: str) -> list[str]:
    """Return the text as Pico may have it: in parts of bounded length, without anything that it reads as markup."""
    plain = "".join(map(_plain, unicodedata.normalize("NFC", text)))
    parts = textwrap.wrap(plain, _PART_CHARACTERS, break_on_hyphens=False)
    # It makes a second of silence of punctuation alone.
    return [part for part in parts if any(map(str.isalnum, part))]


def _plain(character: str) -> str:
    # Tags such as <volume level="500"> or <play file="..."/> are commands to it, even "< volume" is; and it ends at a
    # zero byte. Of the other categories: control characters, formats such as right-to-left, surrogates, private use.
    return " " if character in "<>" or unicodedata.category(character).startswith("C") else character


class NanottsEngine:
    """The child side."""

    def __init__(self, voice: str | None = None) -> None:
        from py_nanotts import NanoTTS, Voice

        voices = [known.value for known in Voice]
        if voice is not None and voice not in voices:
            raise ConfigError(_OPTION, f"{NAME} has none named {voice!r}", f"it has {', '.join(voices)}")
        self._session = NanottsSession(NanoTTS(), voice or _DEFAULT_VOICE)
        self._session.call("speak", b"ready")  # so that the first sentence finds the voice in memory

    def start(self) -> NanottsSession:
        """Begin with a text; nothing is remembered from one to the next."""
        return self._session


class NanottsSession:
    """Speaks part by part."""

    def __init__(self, engine: NanoTTS, voice: str) -> None:
        self._engine = engine
        self._voice = voice

    def call(self, op: str, payload: bytes) -> bytes:
        """Return the speech for a text; `op` is always "speak"."""
        pcm: bytes = self._engine.speak(payload.decode(), voice=self._voice)
        return pcm

    def close(self) -> None:
        """Nothing is held."""

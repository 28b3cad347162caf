"""Synthesizers that are programs of the system: espeak-ng and flite, one process a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import struct
import tempfile
import unicodedata
import wave
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import IO, Final

from wscore.errors import ConfigError
from wscore.units import format_figure
from wsserver.starting import start_program
from wsserver.voice.stages import StageError

_PIECE_BYTES: Final = 8192
_PROBE: Final = "ready"


class _Program(ABC):
    """A program that reads text and writes WAV.

    The text goes over a pipe, never in the arguments: those are in the process list, for every user to read, and an
    answer that begins with a dash would be an option there.
    """

    program: str
    voices: str  # the command that lists them

    def __init__(self, *, voice: str | None = None, timeout_ms: int = 10_000) -> None:
        self._voice = voice
        self._timeout_s = timeout_ms / 1000
        self._path: str | None = None
        self._sample_rate_hz = 0
        self._running: set[Process] = set()

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return self.program

    @property
    def sample_rate_hz(self) -> int:
        """What its WAV says."""
        return self._sample_rate_hz

    async def open(self) -> None:
        """Speak one word: that finds a missing program or voice now, and the sample rate."""
        self._path = shutil.which(self.program)
        if self._path is None:
            raise ConfigError(self._option, "not on PATH", f"install it: apt install {self.program}")
        self._voice = await self._checked_voice()
        size = 0
        try:
            async for pcm in self.synthesize(_PROBE):
                size += len(pcm)
        except StageError as exc:
            voice = "" if self._voice is None else f" with the voice {self._voice!r}"
            raise ConfigError(self._option, f"cannot speak{voice}: it {exc.problem}", self._mend) from exc
        if size == 0:
            raise ConfigError(self._option, "speaks nothing at all", self._mend)

    async def close(self) -> None:
        """End the programs that still speak."""
        for process in tuple(self._running):
            await _end(process)

    async def synthesize(self, text: str) -> AsyncIterator[bytes]:
        """Run the program for this text; its process ends with the iterator, whatever ends that."""
        spoken = self._spoken(text)
        if not spoken:
            return
        try:
            # Closed here and now: otherwise the program would run on until the garbage collector came by.
            async with contextlib.aclosing(self._run(spoken.encode())) as pieces:
                async for piece in pieces:
                    yield piece
        except TimeoutError as exc:
            raise StageError(self.name, f"gave no audio for {format_figure(self._timeout_s)} s") from exc
        except (OSError, EOFError, wave.Error) as exc:
            raise StageError(self.name, f"gave no usable WAV ({type(exc).__name__})") from exc

    @abstractmethod
    def _run(self, text: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the PCM; raises OSError or what `wave` raises when the program gives none."""

    @abstractmethod
    def _spoken(self, text: str) -> str:
        """Return the text without anything that the program would take for markup."""

    @property
    def _option(self) -> str:
        return f"--synthesizer {self.program}"

    @property
    def _mend(self) -> str:
        return f"`{self.voices}` lists its voices"

    async def _checked_voice(self) -> str | None:
        """Return the voice to use; raises ConfigError where the program would silently take another."""
        return self._voice

    @contextlib.asynccontextmanager
    async def _started(
        self, arguments: Sequence[str], stdout: int, descriptors: tuple[int, ...] = ()
    ) -> AsyncIterator[Process]:
        assert self._path is not None
        process = await start_program(
            self._path, *arguments, stdin=PIPE, stdout=stdout, stderr=DEVNULL, pass_fds=descriptors
        )
        self._running.add(process)
        try:
            yield process
        finally:
            self._running.discard(process)
            await _end(process)

    async def _write(self, process: Process, text: bytes) -> None:
        assert process.stdin is not None
        # A program that ends before it has read everything is judged by its exit status.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(text)
            await process.stdin.drain()
        process.stdin.close()

    async def _check_end(self, process: Process) -> None:
        async with asyncio.timeout(self._timeout_s):
            status = await process.wait()
        if status != 0:
            raise StageError(self.name, f"ended with status {status}")

    def _check_rate(self, rate_hz: int, channels: int, sample_bytes: int) -> None:
        if (channels, sample_bytes) != (1, 2):
            raise StageError(self.name, "gave a WAV that is not 16-bit mono")
        if self._sample_rate_hz not in (0, rate_hz):
            raise StageError(self.name, "changed its sample rate")
        self._sample_rate_hz = rate_hz


class EspeakNgSynthesizer(_Program):
    """`espeak-ng`: 22,050 Hz, about 100 languages; the audio streams while it still speaks."""

    program = "espeak-ng"
    voices = "espeak-ng --voices"

    async def _run(self, text: bytes) -> AsyncGenerator[bytes, None]:
        arguments = ["--stdin", "--stdout", "-b", "1", "-v", self._voice or "en"]
        async with self._started(arguments, PIPE) as process:
            assert process.stdout is not None
            async with asyncio.timeout(self._timeout_s):
                await self._write(process, text)
                header = await _read_header(process.stdout)
            if header is None:
                await self._check_end(process)
                return
            self._check_rate(*header)
            rest = b""
            while True:
                async with asyncio.timeout(self._timeout_s):
                    data = await process.stdout.read(_PIECE_BYTES)
                if not data:
                    break
                data = rest + data
                whole = len(data) & ~1
                rest = data[whole:]
                if whole:
                    yield data[:whole]
            await self._check_end(process)

    def _spoken(self, text: str) -> str:
        # [[...]] would be read as phonemes, and control characters begin commands.
        return _printable(text).replace("[", " ").replace("]", " ").strip()


class FliteSynthesizer(_Program):
    """`flite`: English, 16,000 Hz with its voice slt, 8,000 with kal; the audio comes when all of it is there."""

    program = "flite"
    voices = "flite -lv"

    async def _checked_voice(self) -> str | None:
        # It takes its default for a voice that it does not know, and would fetch one that is a URL.
        async with self._started(["-lv"], PIPE) as process:
            try:
                async with asyncio.timeout(self._timeout_s):
                    listed, _ = await process.communicate()
            except TimeoutError as exc:
                raise ConfigError(self._option, "does not list its voices") from exc
        voices = listed.decode("ascii", "replace").partition(":")[2].split()
        if self._voice is None:
            return "slt" if "slt" in voices else None
        if self._voice not in voices:
            raise ConfigError(
                "--voice-name", f"flite has none named {self._voice!r}", f"it has {', '.join(sorted(set(voices)))}"
            )
        return self._voice

    async def _run(self, text: bytes) -> AsyncGenerator[bytes, None]:
        # It opens its output for reading too, so a pipe would make it wait for itself; this file has no name.
        with tempfile.TemporaryFile() as output:
            arguments = ["-f", "/dev/stdin", "-o", f"/dev/fd/{output.fileno()}"]
            if self._voice is not None:
                arguments += ["-voice", self._voice]
            async with self._started(arguments, DEVNULL, (output.fileno(),)) as process:
                async with asyncio.timeout(self._timeout_s):
                    await self._write(process, text)
                await self._check_end(process)
            for piece in self._pieces(output):
                yield piece

    def _pieces(self, output: IO[bytes]) -> Sequence[bytes]:
        output.seek(0)
        with wave.open(output, "rb") as wav:
            self._check_rate(wav.getframerate(), wav.getnchannels(), wav.getsampwidth())
            pcm = wav.readframes(wav.getnframes())
        return [pcm[start : start + _PIECE_BYTES] for start in range(0, len(pcm), _PIECE_BYTES)]

    def _spoken(self, text: str) -> str:
        # It reads bytes as characters of their own: "don't" with a typographic apostrophe would become "dont".
        plain = _printable(text).translate(_TYPOGRAPHY)
        return unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode().strip()


_TYPOGRAPHY: Final = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "ß": "ss", "…": "..."}
)


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(char).startswith("C") else char for char in text)


async def _read_header(stdout: asyncio.StreamReader) -> tuple[int, int, int] | None:
    """Read a WAV header up to its samples: rate, channels, bytes of a sample; None when there is no output at all.

    The `wave` module wants to seek, and what a pipe brings ends when it ends, whatever the header says.
    """
    try:
        await stdout.readexactly(12)
    except asyncio.IncompleteReadError as exc:
        if not exc.partial:
            return None
        raise
    header = (0, 0, 0)
    while True:
        kind, size = struct.unpack("<4sI", await stdout.readexactly(8))
        if kind == b"data":
            return header
        body = await stdout.readexactly(size + size % 2)
        if kind == b"fmt ":
            _, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
            header = (rate_hz, channels, bits // 8)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()

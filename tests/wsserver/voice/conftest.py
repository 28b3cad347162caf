"""Stages that do what a test says, a clock that a test turns, and a caller on a real socket."""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from wsserver import WebSocketServer
from wsserver.telemetry.clock import Clock
from wsserver.voice.app import voice_app
from wsserver.voice.settings import TurnPolicy, VoiceSettings
from wsserver.voice.stages import Said, StageError, Stages

LOUD = 8_000


def tone(duration_ms: int, amplitude: int = LOUD, rate_hz: int = 16_000) -> bytes:
    """Return pcm16 that is loud to the test's voice activity detection."""
    count = rate_hz * duration_ms // 1000
    return array("h", (round(amplitude * math.sin(n / 3)) or 1 for n in range(count))).tobytes()


def silence(duration_ms: int, rate_hz: int = 16_000) -> bytes:
    return bytes(rate_hz * duration_ms // 1000 * 2)


class TestStage:
    """A backend that counts how it is opened, closed and cancelled, and fails when a test says so."""

    __test__ = False
    name = "test"

    def __init__(self) -> None:
        self.is_open = False
        self.failures: list[Exception] = []  # raised by the next calls
        self.hangs = 0  # so many of the next calls never return
        self.under_way = 0
        self.gate = asyncio.Event()  # work waits for it
        self.gate.set()

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def work(self) -> None:
        assert self.is_open
        self.under_way += 1
        try:
            if self.hangs:
                self.hangs -= 1
                await asyncio.Event().wait()
            if self.failures:
                raise self.failures.pop(0)
            await self.gate.wait()
        finally:
            self.under_way -= 1


class Loudness(TestStage):
    """Calls loud frames speech."""

    name = "loudness"
    frame_bytes = 1024

    def __init__(self) -> None:
        super().__init__()
        self.listeners = 0
        self.fed = 0

    async def start(self) -> LoudnessOfOne:
        self.listeners += 1
        return LoudnessOfOne(self)


class LoudnessOfOne:
    def __init__(self, stage: Loudness) -> None:
        self._stage = stage
        self._rest = b""
        self._open = True

    async def feed(self, pcm: bytes) -> Sequence[float]:
        await self._stage.work()
        self._stage.fed += len(pcm)
        audio = self._rest + pcm
        size = self._stage.frame_bytes
        whole = len(audio) // size * size
        self._rest = audio[whole:]
        return [float(max(array("h", audio[at : at + size])) > 1000) for at in range(0, whole, size)]

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._stage.listeners -= 1


class LengthRecognizer(TestStage):
    """Understands how long the audio was, unless a test gives it the words."""

    name = "length"

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.heard: list[bytes] = []
        self.recognitions = 0
        self.finishing = asyncio.Event()
        self.finish_gate = asyncio.Event()
        self.finish_gate.set()

    async def start(self) -> LengthRecognition:
        await self.work()
        self.recognitions += 1
        return LengthRecognition(self)


class LengthRecognition:
    def __init__(self, stage: LengthRecognizer) -> None:
        self._stage = stage
        self._audio = b""
        self._open = True

    async def feed(self, pcm: bytes) -> str | None:
        await self._stage.work()
        self._audio += pcm
        return f"{len(self._audio) // 32} ms"

    async def finish(self) -> str:
        self._stage.finishing.set()
        await self._stage.work()
        await self._stage.finish_gate.wait()
        self._stage.heard.append(self._audio)
        return self._stage.words.pop(0) if self._stage.words else f"{len(self._audio) // 32} ms"

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._stage.recognitions -= 1


class ScriptedResponder(TestStage):
    """Answers with the next script: pieces of text; an Event among them is waited for, an exception raised."""

    name = "script"

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[list[str | asyncio.Event | Exception]] = []
        self.histories: list[list[tuple[str, str]]] = []

    async def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        self.histories.append([(said.role.value, said.text) for said in history])
        script = self.scripts.pop(0) if self.scripts else [f"You said {history[-1].text}."]
        await self.work()
        self.under_way += 1
        try:
            for piece in script:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                elif isinstance(piece, Exception):
                    raise piece
                else:
                    yield piece
        finally:
            self.under_way -= 1


class ToneSynthesizer(TestStage):
    """Speaks with a tone of `ms_per_char` for each character, in pieces of 50 ms."""

    name = "tone"
    sample_rate_hz = 16_000

    def __init__(self) -> None:
        super().__init__()
        self.ms_per_char = 2
        self.spoken: list[str] = []

    async def synthesize(self, text: str) -> AsyncIterator[bytes]:
        await self.work()
        self.spoken.append(text)
        self.under_way += 1
        try:
            audio = tone(self.ms_per_char * len(text), rate_hz=self.sample_rate_hz)
            step = self.sample_rate_hz // 20 * 2
            for at in range(0, len(audio), step):
                yield audio[at : at + step]
                await self.gate.wait()
        finally:
            self.under_way -= 1


class TestTime:
    """Monotonic time that stands still until a test lets it pass."""

    __test__ = False

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now_s(self) -> float:
        return self.now

    async def sleep(self, duration_s: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.now + duration_s, woken))
        await woken.wait()

    def advance(self, duration_s: float) -> None:
        self.now += duration_s + 1e-9
        due = [woken for at, woken in self._sleepers if at <= self.now]
        self._sleepers = [(at, woken) for at, woken in self._sleepers if at > self.now]
        for woken in due:
            woken.set()


class VoiceRoom:
    """The stages of a voice server, and the server once it runs."""

    def __init__(self) -> None:
        self.activity = Loudness()
        self.recognizer = LengthRecognizer()
        self.responder = ScriptedResponder()
        self.synthesizer = ToneSynthesizer()
        self.time = TestTime()
        self.server: WebSocketServer

    @property
    def stages(self) -> Stages:
        return Stages(self.activity, self.recognizer, self.responder, self.synthesizer)

    @property
    def under_way(self) -> int:
        """How much work the stages do now, and hold open."""
        stages = (self.activity, self.recognizer, self.responder, self.synthesizer)
        return sum(stage.under_way for stage in stages) + self.activity.listeners + self.recognizer.recognitions


class Phone:
    """A caller: streams audio, collects what comes."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.sequence_number = 0
        self.got: list[dict[str, Any]] = []

    async def send(self, type: str, data: object = None, **fields: object) -> None:
        await self.client.send(type, data, **fields)

    async def audio(self, audio: bytes, chunk_bytes: int = 3200) -> None:
        for at in range(0, len(audio), chunk_bytes):
            data = base64.b64encode(audio[at : at + chunk_bytes]).decode()
            await self.send("audio_chunk", {"audioData": data, "sequenceNumber": self.sequence_number})
            self.sequence_number += 1

    async def say(self, duration_ms: int = 640, pause_ms: int = 704) -> None:
        """Speak, and be silent long enough for the turn to end."""
        await self.audio(tone(duration_ms) + silence(pause_ms))

    async def receive(self) -> dict[str, Any]:
        envelope: dict[str, Any] = await self.client.receive()
        self.got.append(envelope)
        return envelope

    async def until(self, type: str, **data: object) -> dict[str, Any]:
        """Return the data of the next message of a type that has these values."""
        while True:
            envelope = await self.receive()
            found: dict[str, Any] = envelope.get("data") or {}
            if envelope["type"] == type and data.items() <= found.items():
                return found

    async def all_until_pong(self) -> list[dict[str, Any]]:
        """Return everything that came before the answer to a ping sent now."""
        start = len(self.got)
        await self.send("ping", {"timestamp": 1})
        await self.until("pong")
        return self.got[start:-1]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [envelope.get("data") for envelope in self.got if envelope["type"] == type]  # type: ignore[misc]

    def heard(self) -> bytes:
        """Return the audio that the server sent."""
        return b"".join(base64.b64decode(data["audioData"]) for data in self.of("audio_chunk"))


StartVoice = Callable[..., Awaitable[VoiceRoom]]


@pytest.fixture
def room() -> VoiceRoom:
    return VoiceRoom()


@pytest.fixture
def sounds() -> Any:
    """The makers of test audio: `sounds.tone(ms)` and `sounds.silence(ms)`."""

    class Sounds:
        tone = staticmethod(tone)
        silence = staticmethod(silence)

    return Sounds


@pytest.fixture
def start_voice(room, start_server) -> StartVoice:
    """Start the room's server: `await start_voice(frozen=True)` lets its time stand still."""

    async def start(
        *, frozen: bool = False, turns: TurnPolicy = TurnPolicy(), stage_timeout_ms: int = 10_000, **settings: Any
    ) -> VoiceRoom:
        times: dict[str, Any] = {"clock": Clock(now_s=room.time.now_s), "sleep": room.time.sleep} if frozen else {}
        app = voice_app(room.stages, VoiceSettings(turns=turns, stage_timeout_ms=stage_timeout_ms), **times)
        room.server = await start_server(app, **settings)
        return room

    return start


@pytest.fixture
def call(room, open_raw) -> Callable[..., Awaitable[Phone]]:
    """Call the room's server: `phone = await call()`."""

    async def open_phone(**options: Any) -> Phone:
        # Without a limit, or one that a test leaves unread would hold back its own closing.
        return Phone(await open_raw(room.server.url, max_queue=None, **options))

    return open_phone


@pytest.fixture
def stage_error() -> Callable[[str], StageError]:
    return lambda stage: StageError(stage, "it broke")

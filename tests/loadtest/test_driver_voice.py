"""Callers of a voice server whose stages take a known time: the report says what took how long, stalled or was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from loadtest.speech import read_speech
from loadtest.wire import ASR, E2E, ENDPOINT, LATENCY, LLM, SERVICE, STALL, TTS, CallerSpeech, Plan
from tests.loadtest.driving import Outcome, drive
from tests.wsserver.voice.conftest import (
    LengthRecognition,
    LengthRecognizer,
    ScriptedResponder,
    VoiceRoom,
    silence,
    tone,
)
from wscore.audio import AudioFormat, Encoding
from wscore.errors import ConfigError
from wscore.wav import Wav, write_wav
from wsserver.voice.app import voice_app
from wsserver.voice.settings import VoiceSettings
from wsserver.voice.stages import Said

pytest.importorskip("soxr")

ASR_MS, LLM_MS, PIECE_MS, PAUSE_MS = 300, 200, 500, 1200
WIDE_MS = 1500  # what a busy machine may add


class SlowRecognizer(LengthRecognizer):
    async def start(self) -> LengthRecognition:
        recognition = await super().start()
        finish = recognition.finish

        async def slowly() -> str:
            await asyncio.sleep(ASR_MS / 1000)
            return await finish()

        recognition.finish = slowly  # type: ignore[method-assign]
        return recognition


class SlowResponder(ScriptedResponder):
    async def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        await asyncio.sleep(LLM_MS / 1000)
        async for piece in super().respond(history):
            yield piece


class StallingSynthesizer:
    """Speaks for half a second, is silent for longer than that, and speaks on."""

    name = "stalling"
    sample_rate_hz = 16_000

    async def open(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Nothing is held."""

    async def synthesize(self, text: str) -> AsyncIterator[bytes]:
        yield tone(PIECE_MS)
        await asyncio.sleep(PAUSE_MS / 1000)
        yield tone(PIECE_MS)


@pytest.fixture
def room() -> VoiceRoom:
    return VoiceRoom()


async def drive_callers(room: VoiceRoom, start_server, speech: bytes, **fields: object) -> Outcome:
    server = await start_server(voice_app(room.stages, VoiceSettings()))
    defaults = {"connections": 2, "ramp_s": 0.05, "duration_s": 4.0, "drain_s": 20.0, "think_ms": 100.0}
    said = CallerSpeech(16_000, 1, speech)
    plan = Plan(run_id="t", kind="voice", url=server.url, speech=said, **{**defaults, **fields})  # type: ignore[arg-type]
    outcome = await asyncio.to_thread(drive, plan)
    assert outcome.code == 0, outcome.words
    return outcome


@pytest.mark.slow
async def test_every_stage_takes_what_it_takes_and_a_stall_is_seen(room, start_server):
    room.recognizer, room.responder, room.synthesizer = SlowRecognizer(), SlowResponder(), StallingSynthesizer()
    outcome = await drive_callers(room, start_server, tone(600))
    measured = outcome.measured
    answered = measured.ledger.received
    assert measured.errors == {}
    assert answered == measured.ledger.expected >= 2
    endpoint_ms = VoiceSettings().turns.end_silence_ms
    early_ms = 20  # audio that was held up on its way makes the silence after it shorter by the clock
    at_least_ms = {
        **{ENDPOINT: endpoint_ms - early_ms, ASR: ASR_MS, LLM: LLM_MS, TTS: 0},
        E2E: endpoint_ms + ASR_MS + LLM_MS - early_ms,
        # The end of speech is that of the file; a detector sees it up to a frame earlier.
        LATENCY: endpoint_ms + ASR_MS + LLM_MS - 64,
        STALL: PAUSE_MS - PIECE_MS - 50,
    }
    for name, least_ms in at_least_ms.items():
        found = outcome.histogram(name)
        assert found.total_count == answered, name
        assert least_ms * 998 <= found.get_min_value() + 1, name  # three digits are kept
        assert found.get_max_value() <= (least_ms + WIDE_MS) * 1000, name
    assert outcome.histogram(SERVICE).get_max_value() <= outcome.histogram(LATENCY).get_max_value()
    assert measured.sent > 2 * 10 * 3  # the microphones are on all the time


@pytest.mark.slow
async def test_a_server_that_dies_while_callers_wait_ends_the_run(room, start_server):
    answered, waiting = asyncio.Event(), asyncio.Event()

    class Deaf(LengthRecognizer):
        async def start(self) -> LengthRecognition:
            recognition = await super().start()
            finish = recognition.finish

            async def once() -> str:
                if answered.is_set():
                    waiting.set()
                    await asyncio.Event().wait()
                answered.set()  # the first turn may belong to the ramp
                return await finish()

            recognition.finish = once  # type: ignore[method-assign]
            return recognition

    room.recognizer = Deaf()
    server = await start_server(voice_app(room.stages, VoiceSettings()))
    said = CallerSpeech(16_000, 1, tone(400))
    fields = {"connections": 1, "ramp_s": 0.05, "duration_s": 60.0, "think_ms": 100.0}
    plan = Plan(run_id="t", kind="voice", url=server.url, speech=said, **fields)  # type: ignore[arg-type]
    running = asyncio.create_task(asyncio.to_thread(drive, plan))
    await waiting.wait()
    await server.stop()
    measured = (await running).measured
    assert measured.connections_lost == 1
    assert measured.target_died_at_s is not None
    assert measured.steady_s < 40


@pytest.mark.slow
async def test_turns_without_an_answer_are_lost_and_named(room, start_server):
    room.recognizer.words = ["hello", "", "hello", ""] + ["hello"] * 50
    outcome = await drive_callers(room, start_server, tone(400), connections=1, duration_s=8.0)
    ledger, errors = outcome.measured.ledger, outcome.measured.errors
    assert set(errors) == {"ASR_ERROR"}
    assert 1 <= ledger.lost <= errors["ASR_ERROR"]  # the first turns may belong to the ramp
    assert ledger.received == ledger.expected - ledger.lost >= 1


@pytest.mark.slow
async def test_an_answer_without_a_sound_is_no_answer(room, start_server):
    room.responder.scripts = [["…"]] * 50
    outcome = await drive_callers(room, start_server, tone(400), duration_s=3.0)
    assert outcome.measured.ledger.received == 0
    assert set(outcome.measured.errors) == {"an answer without audio"}
    assert 1 <= outcome.measured.ledger.lost <= outcome.measured.errors["an answer without audio"]


@pytest.mark.slow
async def test_speech_with_a_pause_in_it_is_named(room, start_server):
    outcome = await drive_callers(room, start_server, tone(600) + silence(1500) + tone(2000), connections=1)
    assert outcome.measured.errors["an answer before the end of the speech"] >= 1


@pytest.mark.slow
async def test_the_callers_of_two_processes_are_added_up(room, start_server):
    outcome = await drive_callers(room, start_server, tone(400), connections=4, processes=2)
    measured = outcome.measured
    assert measured.peak_connections == 4
    assert measured.ledger.lost == 0
    assert outcome.histogram(LATENCY).total_count == measured.ledger.received >= 4


def test_the_silence_at_both_ends_of_a_file_is_not_speech(tmp_path: Path):
    form = AudioFormat(Encoding.PCM16, 16_000, 1)
    path = tmp_path / "speech.wav"
    path.write_bytes(write_wav(Wav(form, silence(700) + tone(300) + silence(300) + tone(300) + silence(2000))))
    speech = read_speech(path)
    assert speech.duration_s == pytest.approx(0.9, abs=0.065)


@pytest.mark.parametrize(
    ("audio", "problem"),
    [
        (b"", "it has no samples"),
        (bytes(32_000), "is silent"),
        (tone(31_000), "lasts more than 30 s; take one sentence"),
    ],
)
def test_a_file_that_nobody_could_say_is_refused(tmp_path: Path, audio: bytes, problem: str):
    path = tmp_path / "speech.wav"
    path.write_bytes(write_wav(Wav(AudioFormat(), audio)))
    with pytest.raises(ConfigError, match=problem):
        read_speech(path)
    path.write_bytes(b"text")
    with pytest.raises(ConfigError, match="not a WAV file"):
        read_speech(path)
    path.write_bytes(write_wav(Wav(AudioFormat(), tone(1_000)))[:-16_000])
    with pytest.raises(ConfigError, match=r"ends 0.5 s too soon; take one that is whole"):
        read_speech(path)

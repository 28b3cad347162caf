"""The recognizer pocketsphinx: exact with a grammar, honest without, and grammars that cannot work."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.wsserver.voice.speech_of_people import GOFORWARD, GRAMMAR, librivox, needs_recordings, words, words_right
from wscore.errors import ConfigError
from wsserver.voice.backends.pocketsphinx import MAX_DECODERS, PocketsphinxRecognizer
from wsserver.voice.stages import StageError

pytest.importorskip("pocketsphinx")
pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNK_BYTES = 3_200
COMMAND = "go forward ten meters"
JSGF = "#JSGF V1.0;\ngrammar test;\npublic <command> = {};\n"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def with_grammar() -> AsyncIterator[PocketsphinxRecognizer]:
    recognizer = PocketsphinxRecognizer(grammar=GRAMMAR, workers=1)
    await recognizer.open()
    yield recognizer
    await recognizer.close()


async def recognise(recognizer: PocketsphinxRecognizer, pcm: bytes) -> tuple[str, list[str]]:
    """Return the text and the partial ones."""
    recognition = await recognizer.start()
    partials = [await recognition.feed(pcm[at : at + CHUNK_BYTES]) for at in range(0, len(pcm), CHUNK_BYTES)]
    text = await recognition.finish()
    await recognition.close()
    return text, [partial for partial in partials if partial]


@needs_recordings
async def test_a_command_of_the_grammar_is_understood_exactly(with_grammar):
    text, partials = await recognise(with_grammar, GOFORWARD.read_bytes())
    assert text == COMMAND
    assert len(set(partials)) == len(partials) > 1


@needs_recordings
async def test_one_caller_does_not_change_what_the_next_is_heard_to_say(with_grammar):
    loud = bytes(value for sample in range(16_000) for value in ((sample * 977) & 0xFF, (sample * 31) & 0x3F))
    await recognise(with_grammar, loud)
    assert (await recognise(with_grammar, GOFORWARD.read_bytes()))[0] == COMMAND


@needs_recordings
async def test_callers_speak_at_the_same_time_and_more_than_fit_are_told_so(with_grammar):
    pcm = GOFORWARD.read_bytes()
    begun = [await with_grammar.start() for _ in range(MAX_DECODERS)]
    with pytest.raises(StageError, match="all it can hear"):
        await with_grammar.start()
    for at in range(0, len(pcm), 4 * CHUNK_BYTES):
        for recognition in begun:
            await recognition.feed(pcm[at : at + 4 * CHUNK_BYTES])
    assert [await recognition.finish() for recognition in begun] == [COMMAND] * MAX_DECODERS
    assert (await recognise(with_grammar, pcm))[0] == COMMAND


@needs_recordings
async def test_who_gives_up_gives_the_decoder_back(with_grammar):
    for _ in range(MAX_DECODERS + 1):
        recognition = await with_grammar.start()
        await recognition.feed(GOFORWARD.read_bytes()[:CHUNK_BYTES])
        await recognition.close()
        await recognition.close()
    assert (await recognise(with_grammar, GOFORWARD.read_bytes()))[0] == COMMAND


@needs_recordings
@pytest.mark.parametrize("pcm", [b"", bytes(CHUNK_BYTES), bytes(32_000)], ids=["nothing", "100 ms", "1 s"])
async def test_silence_is_no_text(with_grammar, pcm):
    assert (await recognise(with_grammar, pcm))[0] == ""


@needs_recordings
async def test_a_worker_that_is_killed_fails_its_utterance_and_not_the_next(with_grammar):
    recognition = await with_grammar.start()
    await recognition.feed(GOFORWARD.read_bytes()[:CHUNK_BYTES])
    [pid] = with_grammar.pool.pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageError, match="pocketsphinx: its worker process was ended by SIGKILL"):
        await recognition.finish()
    async with asyncio.timeout(30):
        assert (await recognise(with_grammar, GOFORWARD.read_bytes()))[0] == COMMAND


@needs_recordings
@pytest.mark.slow
async def test_free_dictation_gets_some_words():
    recognizer = PocketsphinxRecognizer(workers=1)
    await recognizer.open()
    pcm, said = librivox()[0]
    text, _ = await recognise(recognizer, pcm)
    await recognizer.close()
    assert words_right(said, text) >= 0.4 * len(words(said))  # weak, as the documentation says; nothing would be 0


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        (None, "cannot read .*No such file"),
        ("", r"commands.gram, line 1: syntax error, .*expecting HEADER"),
        ("go forward", r"commands.gram, line 1: syntax error, .*expecting HEADER"),
        (JSGF.format("go (forward"), r"commands.gram, line 3: syntax error, unexpected ';'"),
        (JSGF.partition("public")[0], "has no rule; define a public one"),
        (JSGF.partition("public")[0] + "// public <command> = go;", "has no rule; define a public one"),
        (JSGF.format("go wsctlward | stop"), "has words that are not in the dictionary: wsctlward"),
        (JSGF.format("go <where>"), "leads nowhere"),
    ],
)
async def test_a_grammar_that_cannot_work_is_named_before_the_server_starts(tmp_path: Path, grammar, problem):
    path = tmp_path / "commands.gram"
    if grammar is not None:
        path.write_text(grammar)
    with pytest.raises(ConfigError, match=f"--grammar: .*(?:{problem})") as error:
        await PocketsphinxRecognizer(grammar=path, workers=1).open()
    assert "commands.gram" in str(error.value)

"""espeak-ng and flite as synthesizers: real programs, and small ones of the test that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from array import array
from pathlib import Path

import pytest

from wscore.errors import ConfigError
from wsserver.voice.backends.programs import EspeakNgSynthesizer, FliteSynthesizer
from wsserver.voice.stages import StageError, Synthesizer

needs = {
    program: pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")
    for program in ("espeak-ng", "flite")
}
BOTH = [
    pytest.param(EspeakNgSynthesizer, marks=needs["espeak-ng"], id="espeak-ng"),
    pytest.param(FliteSynthesizer, marks=needs["flite"], id="flite"),
]


async def speak(synthesizer: Synthesizer, text: str) -> bytes:
    return b"".join([piece async for piece in synthesizer.synthesize(text)])


def processes_of(program: str) -> list[Path]:
    """Return the processes that run a program of this path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if program.encode() in (process / "cmdline").read_bytes():
                found.append(process)
    return found


@pytest.mark.parametrize("synthesizer", BOTH)
async def test_a_sentence_is_spoken_at_the_rate_that_is_said(synthesizer):
    speaker = synthesizer()
    await speaker.open()
    short, long = await speak(speaker, "Go."), await speak(speaker, "Go forward ten meters and then turn around.")
    assert speaker.sample_rate_hz in (8_000, 16_000, 22_050)
    assert 1_500 < len(long) / 2 / speaker.sample_rate_hz * 1_000 < 5_000
    assert len(long) > 2 * len(short) > 0
    assert max(array("h", long)) > 3_000


@pytest.mark.parametrize("synthesizer", BOTH)
@pytest.mark.parametrize("text", ["", "   ", "\x00\x07"], ids=["empty", "blank", "controls"])
async def test_nothing_to_say_is_no_audio(synthesizer, text):
    speaker = synthesizer()
    await speaker.open()
    assert await speak(speaker, text) == b""


@pytest.mark.parametrize("synthesizer", BOTH)
@pytest.mark.parametrize(
    "text", ["--help", "-w /tmp/never.wav", "$(id) `id`", "[[h@l'oU]] <b>x</b>", "déjà “vu” 日本 \ud800"]
)
async def test_text_is_never_an_option_or_a_command(synthesizer, text):
    speaker = synthesizer()
    await speaker.open()
    assert len(await speak(speaker, f"{text} and more")) > 2_000


@pytest.mark.parametrize("synthesizer", BOTH)
async def test_an_unknown_voice_is_a_config_error_and_none_is_taken_in_its_place(synthesizer):
    with pytest.raises(ConfigError, match="voice"):
        await synthesizer(voice="nobody-has-this").open()


@pytest.mark.parametrize("synthesizer", [EspeakNgSynthesizer, FliteSynthesizer])
async def test_a_program_that_is_not_there_is_a_config_error_with_the_mend(synthesizer, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="not on PATH; install it: apt install"):
        await synthesizer().open()


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, script: str) -> str:
    """Put a shell script in a program's place; returns its path."""
    path = folder / program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return str(path)


@needs["espeak-ng"]
@pytest.mark.parametrize(
    ("script", "problem"),
    [("exit 3", "status 3"), ("echo no WAV at all; echo", "no usable WAV"), ("exec sleep 60", "no audio for")],
    ids=["fails", "garbage", "hangs"],
)
async def test_a_program_that_fails_garbles_or_hangs_is_a_stage_error_and_ends(monkeypatch, tmp_path, script, problem):
    speaker = EspeakNgSynthesizer(timeout_ms=300)
    await speaker.open()
    speaker._path = put_on_path(monkeypatch, tmp_path, "broken", script)
    with pytest.raises(StageError, match=problem):
        await speak(speaker, "hello there")
    assert processes_of(speaker._path) == []


@needs["espeak-ng"]
async def test_a_sentence_that_is_given_up_ends_its_program():
    speaker = EspeakNgSynthesizer()
    await speaker.open()
    pieces = speaker.synthesize("word " * 2_000)
    await anext(pieces)
    assert len(speaker._running) == 1
    await pieces.aclose()
    assert not speaker._running


@needs["espeak-ng"]
async def test_closing_ends_the_programs_that_still_speak():
    speaker = EspeakNgSynthesizer()
    await speaker.open()
    pieces = speaker.synthesize("word " * 2_000)
    await anext(pieces)
    await speaker.close()
    async with asyncio.timeout(20):
        with contextlib.suppress(StageError):
            async for _ in pieces:
                pass
    assert not speaker._running

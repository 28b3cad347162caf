"""The backends behind HTTP against a server that answers well, badly, and not at all."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import wave
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.wsserver.voice.model_server import ModelServer, model_server
from wscore.errors import ConfigError
from wsserver.voice.backends.openai import HttpRecognizer, HttpResponder, HttpSynthesizer
from wsserver.voice.settings import Endpoint
from wsserver.voice.stages import Role, Said, StageError

KEY = "sk-canary-0123456789"
SAID = "the caller's own words"
HISTORY = (Said(Role.USER, "hello"), Said(Role.ASSISTANT, "Hi."), Said(Role.USER, SAID))
PCM = bytes(range(256)) * 25  # 200 ms at 16 kHz


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server() as it:
        yield it


def endpoint(server: ModelServer, path: str = "") -> Endpoint:
    return Endpoint(server.url + path, model="small", key=KEY)


async def transcript(server: ModelServer, timeout_ms: int = 5_000) -> str:
    recognizer = HttpRecognizer(endpoint=endpoint(server), timeout_ms=timeout_ms)
    await recognizer.open()
    try:
        recognition = await recognizer.start()
        for start in range(0, len(PCM), 1_000):
            assert await recognition.feed(PCM[start : start + 1_000]) is None
        return await recognition.finish()
    finally:
        await recognizer.close()


async def answer(server: ModelServer, timeout_ms: int = 5_000) -> list[str]:
    responder = HttpResponder(endpoint=endpoint(server), timeout_ms=timeout_ms)
    await responder.open()
    try:
        return [piece async for piece in responder.respond(HISTORY)]
    finally:
        await responder.close()


async def speech(server: ModelServer, timeout_ms: int = 5_000) -> list[bytes]:
    synthesizer = HttpSynthesizer(endpoint=endpoint(server), voice="alloy", timeout_ms=timeout_ms)
    await synthesizer.open()
    try:
        return [piece async for piece in synthesizer.synthesize(SAID)]
    finally:
        await synthesizer.close()


def delta(text: str | None, finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


async def test_an_utterance_goes_out_as_a_wav_and_comes_back_as_text(server):
    server.says(json.dumps({"text": "  go forward ten meters\n"}))
    assert await transcript(server) == "go forward ten meters"
    [asked] = server.asked
    assert asked.path == "/v1/audio/transcriptions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert b'name="model"\r\n\r\nsmall\r\n' in asked.body
    assert b'name="response_format"\r\n\r\njson\r\n' in asked.body
    start = asked.body.index(b"RIFF")
    with wave.open(io.BytesIO(asked.body[start:])) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 1, 2)
        assert wav.readframes(wav.getnframes()) == PCM


async def test_a_conversation_goes_out_and_its_answer_streams_in(server):
    goes_on = asyncio.Event()

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b": a comment\r\nevent: x\r\n\r\n" + delta(None).encode() + delta("Hé").encode()[:-20])
        await writer.drain()
        writer.write(delta("Hé").encode()[-20:])
        await writer.drain()
        await goes_on.wait()
        writer.write(delta("llo.").encode() + delta("", "stop").encode() + b'data: {"choices": []}\n\ndata: [DONE]\n\n')

    server.answer = reply
    responder = HttpResponder(endpoint=endpoint(server, "/v1/"))
    pieces = responder.respond(HISTORY)
    assert await anext(pieces) == "Hé"
    goes_on.set()
    assert [piece async for piece in pieces] == ["llo."]
    await responder.close()
    [asked] = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.json["model"], asked.json["stream"]) == ("small", True)
    assert [message["role"] for message in asked.json["messages"]] == ["system", "user", "assistant", "user"]
    assert asked.json["messages"][-1]["content"] == SAID


async def test_who_stops_listening_ends_the_request(server):
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            writer.write(delta("on and on ").encode())
            await writer.drain()
            await asyncio.sleep(0)

    server.answer = endless
    responder = HttpResponder(endpoint=endpoint(server))
    pieces = responder.respond(HISTORY)
    assert await anext(pieces) == "on and on "
    await pieces.aclose()
    async with asyncio.timeout(20):
        await server.hung_up.wait()
    await responder.close()


async def test_speech_streams_in_whole_samples(server):
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nConnection: close\r\n\r\n")
        for piece in (PCM[:1], PCM[1:4], PCM[4:101], PCM[101:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    server.answer = reply
    pieces = await speech(server)
    assert b"".join(pieces) == PCM
    assert all(len(piece) % 2 == 0 for piece in pieces)
    [asked] = server.asked
    assert asked.path == "/v1/audio/speech"
    assert asked.json == {"model": "small", "input": SAID, "response_format": "pcm", "voice": "alloy"}


async def test_without_a_model_or_a_key_none_is_sent(server):
    server.says(delta("Yes.", "stop"))
    responder = HttpResponder(endpoint=Endpoint(server.url))
    assert [piece async for piece in responder.respond(HISTORY)] == ["Yes."]
    await responder.close()
    assert "authorization" not in server.asked[0].headers
    assert "model" not in server.asked[0].json


Use = Callable[..., Awaitable[object]]
uses = pytest.mark.parametrize("use", [transcript, answer, speech])


def check(error: pytest.ExceptionInfo[StageError], log: str) -> None:
    assert error.value.stage == "http"
    assert error.value.__cause__ is None
    for secret in (KEY, SAID, "RIFF"):
        assert secret not in f"{error.value} {error.value!r} {log}"


@uses
@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("500 Oops", "answered 500"),
        ("401 No", "refused the key"),
        ("404 No", "has no such path or model"),
        ("429 Slow down", "allows no more requests"),
        ("307 Elsewhere\r\nLocation: http://127.0.0.1:1/", "answered 307"),
    ],
)
async def test_a_refusal_is_told_by_its_status_and_nothing_else(server, use: Use, status, problem, caplog):
    caplog.set_level(logging.DEBUG)
    server.says(json.dumps({"error": f"you said {SAID} with {KEY}"}), status)
    with pytest.raises(StageError, match=problem) as error:
        await use(server)
    check(error, caplog.text)
    assert len(server.asked) == 1


@uses
async def test_a_server_that_says_nothing_is_given_up(server, use: Use, caplog):
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    server.answer = silent
    with pytest.raises(StageError, match=r"did not answer within 0\.2 s") as error:
        await use(server, 200)
    check(error, caplog.text)


@uses
async def test_a_server_that_is_not_there(use: Use, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(StageError, match=r"cannot be reached \(ConnectError\)") as error:
            await use(ModelServer(url))
    check(error, caplog.text)


@uses
async def test_a_server_that_speaks_something_else(server, use: Use, caplog):
    async def gibberish(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-" + SAID.encode() + b"\r\n\r\n")

    server.answer = gibberish
    with pytest.raises(StageError, match="cannot be understood") as error:
        await use(server)
    check(error, caplog.text)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "answered no JSON"),
        (f"<html>{SAID}</html>", "answered no JSON"),
        ("[" * 100_000, "answered no JSON"),
        ("[]", "another kind"),
        ('{"text": 5}', "another kind"),
        ('{"text": "' + "a" * (1 << 20) + '"}', "more than 1048576 bytes"),
    ],
)
async def test_a_transcription_that_is_none(server, body, problem, caplog):
    server.says(body)
    with pytest.raises(StageError, match=problem) as error:
        await transcript(server)
    check(error, caplog.text)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "in the middle"),
        (delta(SAID), "in the middle"),
        ("data: nonsense\n\n", "answered no JSON"),
        ("data: []\n\n", "another kind"),
        ('data: {"choices": [5]}\n\n', "another kind"),
        ('data: {"choices": [{"delta": {"content": [1]}}]}\n\n', "another kind"),
        ('data: {"error": {"message": "' + SAID + '"}}\n\n', "reported an error"),
        ("data: " + "a" * (2 << 20), "a line of more than 1048576 bytes"),
    ],
)
async def test_an_answer_that_is_none(server, body, problem, caplog):
    server.says(body, content_type="text/event-stream")
    with pytest.raises(StageError, match=problem) as error:
        await answer(server)
    check(error, caplog.text)


@pytest.mark.parametrize("content_type", ["application/json", "text/html; charset=utf-8", "audio/wav", "audio/mpeg"])
async def test_speech_that_is_no_pcm_is_not_played_as_noise(server, content_type, caplog):
    server.says(b"RIFF....", content_type=content_type)
    with pytest.raises(StageError, match="something else than PCM") as error:
        await speech(server)
    check(error, caplog.text)


async def test_speech_without_end_is_ended(server):
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()

    server.answer = endless
    with pytest.raises(StageError, match="speaks longer than 120 s"):
        await speech(server)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8080", "not an http or https URL"),
        ("ftp://127.0.0.1/", "not an http or https URL"),
        ("http://", "not an http or https URL"),
        ("http://[::1", "not a URL"),
        ("http://host:99999", "not a URL"),
        (f"http://me:{KEY}@host/", "has a user, a query or a fragment; .*--llm-key-file"),
        (f"http://host/v1?key={KEY}", "has a user, a query or a fragment"),
    ],
)
def test_a_url_that_is_no_base_is_refused_without_repeating_it(url, problem):
    with pytest.raises(ConfigError, match=f"--llm-url: {problem}") as error:
        HttpResponder(endpoint=Endpoint(url))
    assert KEY not in str(error.value)


def test_the_key_is_in_no_repr():
    assert KEY not in repr(Endpoint("http://host", key=KEY))
    assert KEY not in repr(vars(HttpResponder(endpoint=Endpoint("http://host", key=KEY))))

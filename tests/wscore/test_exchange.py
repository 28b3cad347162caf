"""What a server sends, sorted into turns."""

from __future__ import annotations

import base64

import msgspec
import pytest

from wscore.audio import AudioFormat, Encoding
from wscore.envelope import Envelope, InvalidMessageError
from wscore.exchange import Exchange, audio_chunks, audio_start
from wscore.payloads import ResponseStatus
from wscore.samples import pcm16_to_mulaw

PCM = bytes(range(256)) * 4


def envelope(type: str, id: str | None = None, **data: object) -> Envelope:
    fields = {"type": type, "timestamp": 1, "data": data} | ({} if id is None else {"id": id})
    return msgspec.json.decode(msgspec.json.encode(fields), type=Envelope)


def spoken(exchange: Exchange, **chunk: object) -> None:
    exchange.take(envelope("speech_started", turnId="t1"))
    exchange.take(envelope("speech_stopped", turnId="t1"))
    exchange.take(envelope("transcript", text="hel", isFinal=False, turnId="t1"))
    exchange.take(envelope("transcript", text="hello", isFinal=True, turnId="t1"))
    exchange.take(envelope("response_started", responseId="r1", turnId="t1"))
    exchange.take(envelope("llm_response", text="Hi.", responseId="r1", isFinal=True, delta="Hi."))
    for number, part in enumerate((PCM[:512], PCM[512:])):
        audio = base64.b64encode(part).decode()
        exchange.take(envelope("audio_chunk", audioData=audio, sequenceNumber=number, responseId="r1", **chunk))


def test_a_spoken_turn():
    exchange = Exchange("end")
    spoken(exchange, encoding="pcm16", sampleRate=24_000)
    exchange.take(envelope("metrics", turnId="t1", endpointMs=500, e2eMs=520))
    assert not exchange.has_ended
    exchange.take(envelope("audio_end", id="end"))
    assert not exchange.has_ended
    turn = exchange.take(envelope("response_done", responseId="r1", turnId="t1", status="completed"))
    assert exchange.has_ended
    assert turn is exchange.turns["t1"]
    assert (turn.transcript, turn.answer, turn.status) == ("hello", "Hi.", ResponseStatus.COMPLETED)
    assert turn.metrics.e2e_ms == 520
    assert turn.reply.form == AudioFormat(Encoding.PCM16, 24_000)
    assert turn.reply.audio == PCM


def test_the_last_audio_ends_a_turn_before_the_server_thinks_that_it_was_played():
    exchange = Exchange("end")
    exchange.take(envelope("audio_end", id="end"))
    spoken(exchange, encoding="pcm16", sampleRate=24_000)
    assert not exchange.has_ended
    last = {"audioData": "", "sequenceNumber": 2, "responseId": "r1", "isLast": True}
    exchange.take(envelope("audio_chunk", **last))
    assert exchange.has_ended
    assert exchange.turns["t1"].reply.audio == PCM


def test_audio_in_mulaw_is_decoded():
    exchange = Exchange()
    exchange.take(envelope("response_started", responseId="r1", turnId="t1"))
    audio = base64.b64encode(pcm16_to_mulaw(bytes(200))).decode()
    data = {"audioData": audio, "sequenceNumber": 0, "responseId": "r1", "encoding": "mulaw", "sampleRate": 8000}
    exchange.take(envelope("audio_chunk", **data))
    assert exchange.turns["t1"].reply.form == AudioFormat(Encoding.PCM16, 8_000)
    assert exchange.turns["t1"].reply.audio == bytes(200)


@pytest.mark.parametrize("answered", [False, True])
def test_an_error_ends_its_turn_at_once_or_with_the_answer(answered):
    exchange = Exchange("end")
    exchange.take(envelope("audio_end", id="end"))
    if answered:
        exchange.take(envelope("response_started", responseId="r1", turnId="t1"))
    error = {"code": "PROCESSING_ERROR", "message": "no", "retryable": True, "details": {"turnId": "t1"}}
    exchange.take(envelope("error", **error))
    assert exchange.has_ended is not answered
    if answered:
        exchange.take(envelope("response_done", responseId="r1", turnId="t1", status="failed"))
        assert exchange.has_ended
    assert exchange.turns["t1"].error.code == "PROCESSING_ERROR"


def test_an_error_of_no_turn_ends_a_recording_without_speech():
    exchange = Exchange("end")
    error = {"code": "ASR_ERROR", "message": "nothing", "retryable": True}
    exchange.take(envelope("error", "end", **error))
    assert exchange.has_ended
    assert [item.code for item in exchange.errors] == ["ASR_ERROR"]
    assert exchange.turns == {}


def test_a_typed_turn_has_not_ended_before_it_began():
    exchange = Exchange()
    assert not exchange.has_ended
    assert exchange.take(envelope("message")) is None
    assert not exchange.has_ended
    exchange.take(envelope("response_started", responseId="r1", turnId="t1"))
    exchange.take(envelope("response_done", responseId="r1", turnId="t1", status="cancelled"))
    assert exchange.has_ended


def test_what_belongs_to_nothing_known_is_let_pass():
    exchange = Exchange()
    assert exchange.take(envelope("llm_response", text="old", responseId="r0")) is None
    assert exchange.take(envelope("llm_response", text="seed")) is None
    assert exchange.take(envelope("audio_chunk", audioData="", sequenceNumber=0)) is None
    assert exchange.take(envelope("transcript", text="seed", isFinal=True)) is None


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"audioData": "?", "sequenceNumber": 0, "responseId": "r1"}, "audioData"),
        ({"audioData": "", "sequenceNumber": 0, "responseId": "r1", "encoding": "opus"}, "encoding"),
        ({"audioData": 1, "sequenceNumber": 0, "responseId": "r1"}, "audioData"),
    ],
)
def test_a_server_that_breaks_its_promise_is_named_with_the_place(data, place):
    exchange = Exchange()
    exchange.take(envelope("response_started", responseId="r1", turnId="t1"))
    with pytest.raises(InvalidMessageError, match=place):
        exchange.take(envelope("audio_chunk", **data))


def test_audio_becomes_messages_that_lose_nothing():
    form = AudioFormat(Encoding.PCM16, 8_000, 2)
    assert audio_start(form).encoding == "pcm16"
    chunks = list(audio_chunks(form, PCM * 20, first_number=7))
    assert [chunk.sequence_number for chunk in chunks] == list(range(7, 7 + len(chunks)))
    assert b"".join(base64.b64decode(chunk.audio_data) for chunk in chunks) == PCM * 20
    assert {len(base64.b64decode(chunk.audio_data)) for chunk in chunks[:-1]} == {form.size_bytes(100)}
    assert list(audio_chunks(form, b"")) == []

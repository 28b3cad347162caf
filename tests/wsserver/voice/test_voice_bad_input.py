"""What goes wrong costs the caller an error with its code, nothing else: the connection stays, the next turn works."""

from __future__ import annotations

import asyncio
import logging

import pytest

from wsserver.voice.stages import StageError

SECRET = "the caller's own words"


@pytest.fixture
def good_turn(room):
    """Check that a spoken turn works, whatever was before."""

    async def check(phone) -> None:
        await phone.say()
        started = await phone.until("response_started")
        await phone.until("response_done", turnId=started["turnId"], status="completed")

    return check


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"audioData": "***", "sequenceNumber": 0}, "INVALID_AUDIO"),
        ({"audioData": "AAA", "sequenceNumber": 0}, "INVALID_AUDIO"),
        ({"audioData": "AAAA", "sequenceNumber": 0}, "INVALID_AUDIO"),  # three bytes
        ({"audioData": 5, "sequenceNumber": 0}, "INVALID_MESSAGE"),
        ({"sequenceNumber": 0}, "INVALID_MESSAGE"),
        (None, "INVALID_MESSAGE"),
    ],
    ids=["no_base64", "cut_base64", "half_a_sample", "no_text", "no_audio", "no_data"],
)
async def test_a_chunk_that_cannot_be_read_is_refused(start_voice, call, good_turn, data, code):
    await start_voice()
    phone = await call()
    await phone.send("audio_chunk", data, id="c1")
    envelope = await phone.client.receive_type("error")
    assert (envelope["data"]["code"], envelope["id"]) == (code, "c1")
    await good_turn(phone)


@pytest.mark.parametrize(
    "data",
    [{"encoding": "opus"}, {"sampleRate": 12_345}, {"channels": 7}, {"sampleRate": -1}],
    ids=["encoding", "rate", "channels", "negative"],
)
async def test_an_unknown_format_is_refused_and_the_old_one_stays(start_voice, call, good_turn, data):
    await start_voice()
    phone = await call()
    await phone.send("audio_start", data, id="s1")
    envelope = await phone.client.receive_type("error")
    assert (envelope["data"]["code"], envelope["id"]) == ("UNSUPPORTED_FORMAT", "s1")
    await good_turn(phone)
    assert {message["encoding"] for message in phone.of("audio_chunk")} == {"pcm16"}


@pytest.mark.parametrize(
    ("type", "data", "meant"),
    [
        ("audio_start", {"sample_rate": 48_000}, "sampleRate"),
        ("audio_start", {"sampelRate": 48_000}, "sampleRate"),
        ("audio_start", {"channel": 2}, "channels"),
        ("audio_chunk", {"audioData": "AAA=", "sequenceNumber": 0, "sample_rate": 48_000}, "sampleRate"),
        ("audio_chunk", {"audio_data": "AAA=", "sequenceNumber": 0}, "audioData"),
        ("audio_chunk", {"audioData": "AAA=", "sequence_number": 0}, "sequenceNumber"),
        ("interrupt", {"response_id": "r1"}, "responseId"),
        ("text_input", {"Text": "hi"}, "text"),
    ],
)
async def test_a_misspelt_field_is_named_and_nothing_done(start_voice, call, good_turn, type, data, meant):
    await start_voice()
    phone = await call()
    await phone.send(type, data, id="m1")
    envelope = await phone.client.receive_type("error")
    assert (envelope["data"]["code"], envelope["id"]) == ("INVALID_MESSAGE", "m1")
    assert f"is `{meant}` meant? - at `$.data`" in envelope["data"]["message"]
    await good_turn(phone)


# What a browser's MediaRecorder sends, and music: the first bytes of files that ffmpeg made.
CONTAINERS = {
    "WebM": bytes.fromhex("1a45dfa39f4286810142f78101"),
    "Ogg": bytes.fromhex("4f6767530002000000000000000000"),
    "MP4": bytes.fromhex("0000001c667479704d34412000000200"),
    "MP3": bytes.fromhex("49443304000000000023"),
    "FLAC": bytes.fromhex("664c614300000022048004800000"),
    "WAV": bytes.fromhex("524946468c3e000057415645666d7420"),
}


@pytest.mark.parametrize("name", CONTAINERS)
async def test_a_container_is_named_and_so_is_all_of_it_refused(start_voice, call, room, good_turn, sounds, name):
    await start_voice()
    phone = await call()
    await phone.audio(CONTAINERS[name] + sounds.tone(320))
    await phone.audio(sounds.tone(320))
    await phone.send("audio_end")
    await phone.until("error", code="AUDIO_TOO_SHORT")
    told = phone.of("error")[:-1]
    assert {error["code"] for error in told} == {"UNSUPPORTED_FORMAT"}
    assert [error["message"] for error in told] == [
        f"chunk {number}: audioData is {name}, not samples; send pcm16 or mulaw without a container"
        for number in range(phone.sequence_number)
    ]
    await good_turn(phone)
    assert len(room.recognizer.heard) == 1


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"sampleRate": 48_000}, "chunk 0: sampleRate 48000, but 16000 is announced; say it in audio_start"),
        ({"encoding": "mulaw"}, "chunk 0: encoding 'mulaw', but pcm16 is announced; say it in audio_start"),
    ],
)
async def test_a_chunk_that_names_another_format_than_the_announced_is_refused(
    start_voice, call, good_turn, said, problem
):
    await start_voice()
    phone = await call()
    await phone.send("audio_chunk", {"audioData": "AAAA", "sequenceNumber": 0, **said}, id="c1")
    envelope = await phone.client.receive_type("error")
    assert (envelope["data"]["code"], envelope["data"]["message"]) == ("UNSUPPORTED_FORMAT", problem)
    await phone.send("audio_chunk", {"audioData": "AAA=", "sequenceNumber": 0, "sampleRate": 16_000}, id="c2")
    await good_turn(phone)


async def test_audio_start_without_data_means_the_default(start_voice, call, good_turn):
    await start_voice()
    phone = await call()
    await phone.send("audio_start")
    await good_turn(phone)
    assert not phone.of("error")


async def test_a_duplicate_is_heard_once_and_told(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    for _ in range(2):
        phone.sequence_number = 0
        await phone.audio(sounds.tone(640))
    await phone.send("audio_end")
    await phone.until("transcript", isFinal=True)
    assert len(room.recognizer.heard[0]) / 32 < 700
    told = [error["message"] for error in phone.of("error") if error["code"] == "INVALID_AUDIO"]
    assert [text.split(":")[0] for text in told] == [f"chunk {number}" for number in range(7)]


@pytest.mark.parametrize("speech_ms", [640, 5_000])
async def test_a_client_that_counts_anew_after_each_turn_is_heard(start_voice, call, room, sounds, speech_ms):
    await start_voice()
    phone = await call()
    for number in (1, 2, 3):
        phone.sequence_number = 0
        await phone.say(speech_ms)
        await phone.until("response_done", turnId=f"t{number}", status="completed")
    assert all(len(audio) >= speech_ms * 32 for audio in room.recognizer.heard)
    assert not phone.of("error")


async def test_a_client_that_counts_anew_before_the_server_finds_the_end_is_heard(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640) + sounds.silence(200))
    phone.sequence_number = 0
    await phone.audio(sounds.tone(960, 5_000))
    await phone.send("audio_end")
    await phone.until("transcript", isFinal=True)
    assert len(room.recognizer.heard[0]) / 32 > 1_750
    assert not phone.of("error")


@pytest.mark.parametrize("missing_ms", [100, 200, 2_000])
async def test_after_a_gap_hearing_goes_on(start_voice, call, room, sounds, missing_ms):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640))
    phone.sequence_number += missing_ms // 100
    await phone.say()
    await phone.until("response_done", status="completed")
    assert not phone.of("error")
    assert len(room.recognizer.heard) == (1 if missing_ms <= 200 else 2)


async def test_a_commit_of_less_than_a_tenth_of_a_second_is_too_short(start_voice, call, good_turn, sounds):
    await start_voice()
    phone = await call()
    for audio in (b"", sounds.tone(90), sounds.silence(90)):
        await phone.audio(audio)
        await phone.send("audio_end", id="e1")
        envelope = await phone.client.receive_type("error")
        assert (envelope["data"]["code"], envelope["id"]) == ("AUDIO_TOO_SHORT", "e1")
    await good_turn(phone)


async def test_a_commit_of_silence_was_not_understood(start_voice, call, good_turn, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.silence(1_000))
    await phone.send("audio_end", id="e1")
    envelope = await phone.client.receive_type("error")
    assert envelope["id"] == "e1"
    assert envelope["data"] == {
        "code": "ASR_ERROR",
        "message": "Could not understand audio. Please try again.",
        "retryable": True,
    }
    await good_turn(phone)


async def test_speech_without_words_was_not_understood(start_voice, call, room, good_turn):
    await start_voice()
    phone = await call()
    room.recognizer.words = ["  "]
    await phone.say()
    assert await phone.until("error") == {
        "code": "ASR_ERROR",
        "message": "Could not understand audio. Please try again.",
        "retryable": True,
        "details": {"turnId": "t1"},
    }
    await good_turn(phone)
    assert len(room.responder.histories) == 1


async def test_silence_alone_makes_no_turn(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.silence(3_000))
    assert await phone.all_until_pong() == []
    await asyncio.sleep(0)
    assert room.recognizer.recognitions == 0


def failing(error: Exception):
    return lambda stage: stage.failures.append(error)


def hanging(stage) -> None:
    stage.hangs = 1


FAULTS = {
    "reports": failing(StageError("test", "it broke")),
    "crashes": failing(ValueError(SECRET)),
    "hangs": hanging,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage_name", ["activity", "recognizer", "responder", "synthesizer"])
async def test_a_stage_that_fails_costs_one_turn(start_voice, call, room, good_turn, caplog, stage_name, fault):
    caplog.set_level(logging.DEBUG, "wsctl")
    await start_voice(stage_timeout_ms=200)
    phone = await call()
    stage = getattr(room, stage_name)
    FAULTS[fault](stage)
    await phone.say()
    error = await phone.until("error")
    assert (error["code"], error["retryable"]) == ("PROCESSING_ERROR", True)
    assert error["details"]["stage"] == ("test" if fault == "reports" else stage.name)
    if stage_name != "activity":
        assert error["details"]["turnId"] == "t1"
    if stage_name in ("responder", "synthesizer"):
        await phone.until("response_done", responseId="r1", status="failed")
    if stage_name == "activity":
        await phone.until("response_done", turnId="t1")  # what was said after the failure
    await good_turn(phone)
    assert len(phone.of("error")) == 1
    (record,) = [entry for entry in caplog.records if entry.message == "voice.failed"]
    fields = record.fields
    assert fields["connection"] == phone.client.greeting["data"]["connectionId"]
    assert fields["stage"] == error["details"]["stage"]
    if fault == "crashes":
        assert "ValueError" in fields["problem"]
    assert not [entry for entry in caplog.records if entry.levelno > logging.WARNING]


async def test_a_recognizer_that_fails_at_the_end_costs_one_turn(start_voice, call, room, good_turn, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640))
    await phone.until("transcript", isFinal=False)
    room.recognizer.failures = [StageError("length", "worker died")]
    await phone.send("audio_end")
    await phone.until("error", code="PROCESSING_ERROR", details={"turnId": "t1", "stage": "length"})
    await good_turn(phone)
    assert room.recognizer.recognitions == 0


async def test_an_answer_that_fails_in_the_middle_keeps_what_was_spoken(start_voice, call, room):
    await start_voice()
    phone = await call()
    room.responder.scripts = [["This was said. And", StageError("script", "gone")], ["Next."]]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("audio_chunk")
    await phone.until("error", code="PROCESSING_ERROR", details={"turnId": "t1", "stage": "script"})
    await phone.until("response_done", status="failed")
    assert not [message for message in phone.of("llm_response") if message["isFinal"]]
    await phone.send("text_input", {"text": "next"})
    await phone.until("response_done", status="completed")
    assert room.responder.histories[1] == [("user", "hi"), ("assistant", "This was said."), ("user", "next")]


async def test_a_detector_that_keeps_failing_is_reported_once_a_second(start_voice, call, room, sounds, good_turn):
    await start_voice(frozen=True)
    phone = await call()
    room.activity.failures = [StageError("loudness", "down") for _ in range(20)]
    await phone.audio(sounds.tone(2_000))
    await phone.all_until_pong()
    while room.activity.failures:
        await phone.all_until_pong()
    assert len(phone.of("error")) == 1
    room.time.advance(1)
    room.activity.failures = [StageError("loudness", "down")]
    await phone.audio(sounds.tone(100))
    await phone.until("error")


async def test_no_word_of_the_caller_and_no_audio_is_in_the_log(start_voice, call, room, caplog):
    caplog.set_level(logging.DEBUG, "wsctl")
    await start_voice()
    phone = await call()
    room.recognizer.words = [SECRET]
    room.responder.scripts = [[SECRET, ValueError(SECRET)]]
    await phone.say()
    await phone.until("response_done", status="failed")
    text = "\n".join(
        f"{record.getMessage()} {getattr(record, 'fields', '')} {record.exc_text}" for record in caplog.records
    )
    assert "voice.failed" in text
    assert SECRET not in text


async def test_a_failed_caller_leaves_the_others_alone(start_voice, call, room):
    await start_voice()
    ann, bob = await call(), await call()
    room.responder.failures = [StageError("script", "gone")]
    await ann.send("text_input", {"text": "hi"})
    await ann.until("response_done", status="failed")
    await bob.send("text_input", {"text": "hi"})
    await bob.until("response_done", status="completed")
    assert not bob.of("error")

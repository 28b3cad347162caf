"""A conversation with the voice app over a real socket: what is said, recognised, answered and spoken."""

from __future__ import annotations

import asyncio
import base64

import pytest

from wscore.samples import mulaw_to_pcm16
from wsserver.voice.answer import MAX_ANSWER_CHARS
from wsserver.voice.caller import MAX_TEXT_CHARS


async def test_a_spoken_turn_is_transcribed_answered_and_spoken(start_voice, call, room, engine):
    await start_voice(engine=engine)
    phone = await call()
    room.recognizer.words = ["what time is it"]
    room.responder.scripts = [["It is ", "noon. ", "Eat."]]
    await phone.say()
    done = await phone.until("response_done")
    assert done == {"responseId": "r1", "turnId": "t1", "status": "completed"}

    types = [envelope["type"] for envelope in phone.got]
    order = ["speech_started", "speech_stopped", "response_started", "metrics", "response_done"]
    assert [kind for kind in types if kind in order] == order
    assert phone.of("speech_started") == phone.of("speech_stopped") == [{"turnId": "t1"}]
    *partials, final = phone.of("transcript")
    assert final == {"text": "what time is it", "isFinal": True, "turnId": "t1"}
    assert partials
    assert all(partial["isFinal"] is False and partial["turnId"] == "t1" for partial in partials)
    assert types.index("speech_started") < types.index("transcript") < types.index("speech_stopped")
    assert phone.of("response_started") == [{"responseId": "r1", "turnId": "t1"}]

    *_, text = phone.of("llm_response")
    assert (text["text"], text["isFinal"], text["responseId"]) == ("It is noon. Eat.", True, "r1")
    assert "".join(message["delta"] for message in phone.of("llm_response")) == "It is noon. Eat."
    assert room.synthesizer.spoken == ["It is noon.", "Eat."]
    assert room.responder.histories == [[("user", "what time is it")]]

    chunks = phone.of("audio_chunk")
    assert [chunk["sequenceNumber"] for chunk in chunks] == list(range(len(chunks)))
    assert {(chunk["encoding"], chunk["sampleRate"], chunk["responseId"]) for chunk in chunks} == {
        ("pcm16", 16_000, "r1")
    }
    assert [chunk.get("isLast", False) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(phone.heard()) >= 15 * 2 * 32


async def test_the_recognizer_gets_the_speech_with_what_preceded_it(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.silence(1_024))
    await phone.say(1_024)
    await phone.until("transcript", isFinal=True)
    (heard,) = room.recognizer.heard
    loud = len(heard.strip(b"\0")) / 32
    assert 1_000 < loud <= 1_024
    before_ms = (len(heard) - len(heard.lstrip(b"\0"))) / 32
    assert 200 < before_ms < 400


async def test_a_client_of_the_seed_that_knows_nothing_new_is_served(start_voice, call, room):
    await start_voice()
    phone = await call()
    seen = []
    for _ in range(2):
        await phone.say()
        while True:
            envelope = await phone.receive()
            if envelope["type"] in ("transcript", "llm_response", "audio_chunk", "error"):
                seen.append((envelope["type"], envelope["data"]))
                if envelope["data"].get("isLast"):
                    break
    assert {kind for kind, _ in seen} == {"transcript", "llm_response", "audio_chunk"}
    assert all({"text", "isFinal"} <= data.keys() for kind, data in seen if kind == "transcript")
    audio = [data for kind, data in seen if kind == "audio_chunk"]
    assert all(base64.b64decode(data["audioData"], validate=True) for data in audio)
    assert [data["sequenceNumber"] for data in audio] == list(range(len(audio)))


async def test_a_client_that_falls_silent_by_sending_nothing_ends_its_turn(start_voice, call, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640))
    assert (await phone.until("transcript", isFinal=True))["turnId"] == "t1"


async def test_audio_end_ends_the_turn_without_silence(start_voice, call, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640))
    await phone.send("audio_end")
    await phone.until("response_done", status="completed")
    assert phone.of("speech_stopped") == [{"turnId": "t1"}]


async def test_audio_end_after_a_turn_that_ended_by_itself_changes_nothing(start_voice, call):
    await start_voice()
    phone = await call()
    await phone.say()
    await phone.until("speech_stopped")
    await phone.send("audio_end")
    await phone.until("response_done", status="completed")
    assert not phone.of("error")
    assert len(phone.of("speech_started")) == 1


async def test_audio_clear_forgets_the_turn(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.tone(640))
    await phone.until("speech_started")
    await phone.send("audio_clear")
    await phone.until("speech_stopped", turnId="t1")
    await phone.say()
    assert (await phone.until("transcript", isFinal=True))["turnId"] == "t2"
    assert len(room.recognizer.heard) == 1
    await phone.until("response_done")
    assert room.recognizer.recognitions == 0
    assert not phone.of("error")


async def test_a_typed_turn_is_answered_like_a_spoken_one(start_voice, call, room, engine):
    await start_voice(engine=engine)
    phone = await call()
    await phone.send("text_input", {"text": " hello "})
    assert (await phone.until("response_done"))["status"] == "completed"
    assert phone.of("llm_response")[-1]["text"] == "You said hello."
    assert not phone.of("transcript")
    (metrics,) = phone.of("metrics")
    assert metrics.keys() == {"turnId", "llmTtftMs", "ttsTtfbMs", "e2eMs"}


@pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_TEXT_CHARS + 1)], ids=["empty", "blank", "long"])
async def test_a_typed_turn_needs_a_text_of_sensible_length(start_voice, call, text):
    await start_voice()
    phone = await call()
    await phone.send("text_input", {"text": text}, id="7")
    error = await phone.client.receive_type("error")
    assert (error["data"]["code"], error["id"]) == ("INVALID_MESSAGE", "7")
    await phone.send("text_input", {"text": "hello"})
    await phone.until("response_done", turnId="t1", status="completed")


async def test_the_history_grows_by_what_both_have_said(start_voice, call, room):
    await start_voice()
    phone = await call()
    for text in ("one", "two"):
        await phone.send("text_input", {"text": text})
        await phone.until("response_done", status="completed")
    assert room.responder.histories[1] == [("user", "one"), ("assistant", "You said one."), ("user", "two")]


async def test_two_callers_know_nothing_of_each_other(start_voice, call, room):
    await start_voice()
    ann, bob = await call(), await call()
    await ann.send("text_input", {"text": "ann"})
    await ann.until("response_done")
    await bob.send("text_input", {"text": "bob"})
    done = await bob.until("response_done")
    assert (done["responseId"], done["turnId"]) == ("r1", "t1")
    assert room.responder.histories[1] == [("user", "bob")]
    assert bob.of("audio_chunk")[0]["sequenceNumber"] == 0
    assert {envelope["type"] for envelope in await ann.all_until_pong()} == set()


async def test_speech_begins_while_the_answer_is_still_written(start_voice, call, room):
    await start_voice()
    phone = await call()
    go_on = asyncio.Event()
    room.responder.scripts = [["This is first. T", go_on, "hat is last."]]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("audio_chunk")
    assert room.synthesizer.spoken == ["This is first."]
    assert phone.of("llm_response")[-1]["isFinal"] is False
    go_on.set()
    await phone.until("response_done", status="completed")
    assert room.synthesizer.spoken == ["This is first.", "That is last."]


async def test_a_stream_of_many_pieces_makes_few_messages_and_loses_nothing(start_voice, call, room):
    await start_voice()
    phone = await call()
    words = [f"word{number} " for number in range(500)]
    room.synthesizer.ms_per_char = 0
    room.responder.scripts = [list(words)]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("response_done")
    texts = phone.of("llm_response")
    assert len(texts) < 100
    assert "".join(text["delta"] for text in texts) == texts[-1]["text"] == "".join(words)
    assert [text["isFinal"] for text in texts] == [False] * (len(texts) - 1) + [True]


async def test_text_that_came_between_two_messages_is_sent_though_the_stream_stands_still(start_voice, call, room):
    await start_voice()
    phone = await call()
    go_on = asyncio.Event()
    room.responder.scripts = [["One", " two", go_on]]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("llm_response", text="One two", isFinal=False, delta=" two")
    go_on.set()
    await phone.until("response_done")


async def test_a_responder_without_end_is_stopped(start_voice, call, room):
    await start_voice()
    phone = await call()
    room.synthesizer.ms_per_char = 0
    room.responder.scripts = [["x" * 1_000] * 1_000]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("response_done", status="completed")
    assert len(phone.of("llm_response")[-1]["text"]) == MAX_ANSWER_CHARS
    assert room.under_way == 0


async def test_an_answer_without_words_ends_without_audio(start_voice, call, room):
    await start_voice()
    phone = await call()
    room.responder.scripts = [[], ["...", "?!"]]
    for _ in range(2):
        await phone.send("text_input", {"text": "hi"})
        await phone.until("response_done", status="completed")
    assert [message["text"] for message in phone.of("llm_response") if message["isFinal"]] == ["", "...?!"]
    assert room.synthesizer.spoken == []
    assert not phone.of("audio_chunk")
    assert all(message.keys() <= {"turnId", "llmTtftMs"} for message in phone.of("metrics"))


async def test_the_answer_comes_in_the_format_of_the_caller(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    room.synthesizer.ms_per_char = 20
    await phone.send("audio_start", {"encoding": "mulaw", "sampleRate": 8000, "channels": 1})
    await phone.send("text_input", {"text": "hi"})
    await phone.until("response_done")
    chunks = phone.of("audio_chunk")
    assert {(chunk["encoding"], chunk["sampleRate"]) for chunk in chunks} == {("mulaw", 8000)}
    audio = phone.heard()
    said_ms = 20 * len("You said hi.")
    assert abs(len(audio) / 8 - said_ms) <= 25
    assert max(memoryview(mulaw_to_pcm16(audio)).cast("h")) > 4_000


async def test_audio_is_sent_at_most_five_seconds_ahead_of_the_listener(start_voice, call, room):
    await start_voice(frozen=True)
    phone = await call()
    room.synthesizer.ms_per_char = 1_000
    room.responder.scripts = [["Twelve chars"]]
    await phone.send("text_input", {"text": "hi"})
    while len(phone.heard()) < 5_000 * 32:
        await phone.until("audio_chunk")
    assert [envelope["type"] for envelope in await phone.all_until_pong()] == []
    room.time.advance(1)
    for _ in range(10):
        await phone.until("audio_chunk")
    assert await phone.all_until_pong() == []
    for _ in range(12):
        room.time.advance(1)
        await phone.all_until_pong()
    assert len(phone.heard()) == 12_000 * 32
    assert phone.of("response_done")[-1]["status"] == "completed"


async def test_a_sentence_is_sent_to_its_end_though_the_next_one_is_not_there_yet(start_voice, call, room):
    await start_voice()
    phone = await call()
    go_on = asyncio.Event()
    room.synthesizer.ms_per_char = 15
    room.responder.scripts = [["One two. ", "T", go_on]]
    await phone.send("text_input", {"text": "hi"})
    while len(phone.heard()) < 8 * 15 * 32:
        await phone.until("audio_chunk")
    go_on.set()
    await phone.until("audio_chunk", isLast=True)

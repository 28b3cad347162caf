"""Whoever speaks over an answer ends it, and only what was spoken of it is remembered."""

from __future__ import annotations

import asyncio

import pytest

ANSWER = "One two three four. Five six seven eight."  # 19 and 21 characters


@pytest.fixture
async def playing(start_voice, call, room):
    """A caller to whom an answer of 4 s was sent, of which none is played yet."""
    await start_voice(frozen=True)
    phone = await call()
    room.synthesizer.ms_per_char = 100
    room.responder.scripts = [[ANSWER]]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("audio_chunk", isLast=True)
    return phone


async def next_history(phone, room) -> list[tuple[str, str]]:
    await phone.send("audio_clear")
    await phone.send("text_input", {"text": "next"})
    await phone.until("response_started")
    await phone.until("llm_response", isFinal=True)
    return room.responder.histories[-1]


async def test_speech_while_an_answer_plays_cancels_it(playing, room, sounds):
    room.time.advance(1.0)
    await playing.audio(sounds.tone(640))
    assert await playing.until("audio_cancelled") == {"responseId": "r1", "playedMs": 1000}
    assert (await playing.receive())["data"] == {"responseId": "r1", "turnId": "t1", "status": "cancelled"}
    assert await next_history(playing, room) == [("user", "hi"), ("assistant", "One two"), ("user", "next")]


async def test_short_speech_does_not_cancel(playing, room, sounds):
    room.recognizer.words = [""]
    await playing.audio(sounds.tone(192) + sounds.silence(704))
    await playing.until("error", code="ASR_ERROR")
    assert not playing.of("audio_cancelled")
    room.time.advance(5)
    await playing.until("response_done", status="completed")
    assert await next_history(playing, room) == [("user", "hi"), ("assistant", ANSWER), ("user", "next")]


async def test_speech_after_an_answer_was_played_cancels_nothing(playing, room, sounds):
    room.time.advance(5)
    await playing.until("response_done", status="completed")
    await playing.say()
    await playing.until("response_started", turnId="t2")
    assert not playing.of("audio_cancelled")


async def test_speech_cancels_an_answer_that_is_still_made(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    never = asyncio.Event()
    room.responder.scripts = [["So. ", never, "On."]]
    room.synthesizer.gate.clear()
    await phone.send("text_input", {"text": "hi"})
    await phone.until("llm_response")
    await phone.audio(sounds.tone(640))
    assert await phone.until("audio_cancelled") == {"responseId": "r1", "playedMs": 0}
    await phone.until("response_done", status="cancelled")
    assert phone.of("metrics")[-1].keys() == {"turnId", "llmTtftMs"}
    assert room.responder.under_way == room.synthesizer.under_way == 0
    room.synthesizer.gate.set()
    room.responder.scripts = []
    assert await next_history(phone, room) == [("user", "hi"), ("user", "next")]


async def test_nothing_late_of_a_cancelled_answer_comes(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    go_on = asyncio.Event()
    room.synthesizer.ms_per_char = 50
    room.responder.scripts = [["One two three. ", "Four", go_on, " five six. Seven."], ["Next."]]
    await phone.send("text_input", {"text": "hi"})
    await phone.until("audio_chunk")
    await phone.send("interrupt")
    await phone.until("response_done", status="cancelled")
    go_on.set()
    await phone.send("text_input", {"text": "next"})
    mark = len(phone.got)
    await phone.until("response_done", turnId="t2", status="completed")
    after = phone.got[mark:]
    assert {message["data"].get("responseId", "r2") for message in after if message["type"] != "metrics"} == {"r2"}
    assert [message["text"] for message in phone.of("llm_response")][-1] == "Next."


async def test_a_stage_that_ignores_its_cancellation_leaks_nothing(start_voice, call, room):
    await start_voice(stage_timeout_ms=300)
    phone = await call()
    entered = asyncio.Event()

    async def stubborn(text):
        if text == "Stubborn.":
            try:
                entered.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
        yield bytes(3200)

    room.synthesizer.synthesize = stubborn
    room.responder.scripts = [["Stubborn."], ["Next."]]
    await phone.send("text_input", {"text": "hi"})
    await asyncio.wait_for(entered.wait(), 20)
    await phone.send("interrupt")
    await phone.send("text_input", {"text": "next"})
    await phone.until("response_done", turnId="t2", status="completed")
    assert {message["responseId"] for message in phone.of("audio_chunk")} == {"r2"}


async def test_an_interrupt_counts_what_the_client_played(playing, room):
    room.time.advance(3)
    await playing.send("interrupt", {"responseId": "r1", "playedMs": 2_450})
    assert await playing.until("audio_cancelled") == {"responseId": "r1", "playedMs": 2_450}
    expected = "One two three four. Five"
    assert await next_history(playing, room) == [("user", "hi"), ("assistant", expected), ("user", "next")]


@pytest.mark.parametrize(("claimed", "counted"), [(-1, 0), (10**12, 4_000)], ids=["too_little", "too_much"])
async def test_the_clients_figure_is_bounded_by_what_was_sent(playing, claimed, counted):
    await playing.send("interrupt", {"playedMs": claimed})
    assert (await playing.until("audio_cancelled"))["playedMs"] == counted


@pytest.mark.parametrize("data", [None, {}], ids=["no_data", "empty"])
async def test_an_interrupt_that_names_nothing_ends_the_current_answer_as_far_as_the_clock_says(playing, room, data):
    room.time.advance(1.5)
    await playing.send("interrupt", data)
    assert await playing.until("audio_cancelled") == {"responseId": "r1", "playedMs": 1500}


async def test_an_interrupt_of_another_answer_or_of_none_is_ignored(playing, room):
    await playing.send("interrupt", {"responseId": "r0"})
    await playing.send("interrupt", {"responseId": "r2", "playedMs": 5})
    assert await playing.all_until_pong() == []
    room.time.advance(5)
    await playing.until("response_done", status="completed")
    await playing.send("interrupt", {"responseId": "r1"})
    await playing.send("interrupt")
    assert await playing.all_until_pong() == []


async def test_an_interrupt_before_anything_else_is_ignored(start_voice, call):
    await start_voice()
    phone = await call()
    await phone.send("interrupt")
    assert await phone.all_until_pong() == []


async def test_an_interrupt_overtakes_audio_that_waits(playing, room, sounds):
    room.activity.gate.clear()
    await playing.audio(sounds.silence(1_000))
    await playing.send("interrupt")
    assert (await playing.until("audio_cancelled"))["responseId"] == "r1"
    room.activity.gate.set()


async def test_a_new_text_cancels_what_still_plays(playing, room):
    room.time.advance(2.0)
    await playing.send("text_input", {"text": "next"})
    assert await playing.until("audio_cancelled") == {"responseId": "r1", "playedMs": 2000}
    await playing.until("response_done", responseId="r1", status="cancelled")
    await playing.until("response_started", responseId="r2", turnId="t2")
    await playing.until("llm_response", isFinal=True)
    assert room.responder.histories[-1][1] == ("assistant", "One two three four.")


async def test_a_short_turn_that_was_understood_cancels_what_still_plays(playing, room, sounds):
    room.recognizer.words = ["stop"]
    await playing.audio(sounds.tone(192) + sounds.silence(704))
    await playing.until("transcript", text="stop", isFinal=True)
    await playing.until("audio_cancelled", responseId="r1")
    await playing.until("response_started", turnId="t2")


async def test_an_answer_to_someone_who_already_speaks_again_does_not_talk_over_them(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    room.synthesizer.ms_per_char = 300
    room.recognizer.finish_gate.clear()
    await phone.say()
    await phone.audio(sounds.tone(640))
    await phone.until("speech_started", turnId="t2")
    room.recognizer.finish_gate.set()
    await phone.until("response_started", turnId="t1")
    await phone.audio(sounds.tone(320))
    assert (await phone.until("audio_cancelled"))["responseId"] == "r1"
    await phone.audio(sounds.silence(704))
    await phone.until("response_started", turnId="t2")

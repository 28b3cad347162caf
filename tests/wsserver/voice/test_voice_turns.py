"""Several turns, several callers, much audio at once, and what is left of a caller who has gone."""

from __future__ import annotations

import asyncio

import pytest


async def test_the_metrics_add_up(start_voice, call, room, sounds):
    await start_voice(frozen=True)
    phone = await call()
    room.recognizer.finish_gate.clear()
    go_on = asyncio.Event()
    room.responder.scripts = [[go_on, "Yes. No."]]
    room.synthesizer.gate.clear()
    await phone.audio(sounds.tone(640))
    await phone.all_until_pong()
    await phone.until("transcript", isFinal=False)
    room.time.advance(0.6)
    await phone.audio(sounds.silence(704))
    await phone.until("speech_stopped")
    await asyncio.wait_for(room.recognizer.finishing.wait(), 20)
    room.time.advance(0.2)
    room.recognizer.finish_gate.set()
    await phone.until("response_started")
    room.time.advance(0.3)
    go_on.set()
    await phone.until("llm_response", isFinal=True)
    room.time.advance(0.1)
    room.synthesizer.gate.set()
    assert await phone.until("metrics") == {
        "turnId": "t1",
        "endpointMs": 600,
        "asrMs": 200,
        "llmTtftMs": 300,
        "ttsTtfbMs": 100,
        "e2eMs": 1200,
    }


async def test_the_next_turn_is_heard_while_the_one_before_it_is_recognised(start_voice, call, room):
    await start_voice()
    phone = await call()
    room.recognizer.words = ["first", "second"]
    room.recognizer.finish_gate.clear()
    await phone.say()
    await phone.say()
    await phone.until("speech_stopped", turnId="t2")
    assert not [message for message in phone.of("transcript") if message["isFinal"]]
    room.recognizer.finish_gate.set()
    await phone.until("response_done", turnId="t2", status="completed")
    finals = [(message["turnId"], message["text"]) for message in phone.of("transcript") if message["isFinal"]]
    assert finals == [("t1", "first"), ("t2", "second")]


async def test_turns_are_answered_in_the_order_in_which_they_began(start_voice, call, room):
    await start_voice()
    phone = await call()
    room.recognizer.finish_gate.clear()
    await phone.say()
    await phone.until("speech_stopped")
    await phone.send("text_input", {"text": "typed"})
    assert not [message for message in await phone.all_until_pong() if message["type"] == "response_started"]
    room.recognizer.finish_gate.set()
    await phone.until("response_done", turnId="t2", status="completed")
    assert [message["turnId"] for message in phone.of("response_started")] == ["t1", "t2"]


async def test_audio_that_comes_faster_than_it_is_recognised_is_held_back_and_none_of_it_lost(
    start_voice, call, room, sounds
):
    await start_voice()
    phone = await call()
    room.recognizer.gate.clear()
    sender = asyncio.create_task(phone.say(25_000))
    await phone.until("speech_started")
    fed = -1
    async with asyncio.timeout(20):
        while room.activity.fed != fed or fed < 2_000 * 32:
            fed = room.activity.fed
            await asyncio.sleep(0.05)
    assert fed < 12_000 * 32
    room.recognizer.gate.set()
    await phone.until("transcript", isFinal=True)
    await sender
    assert abs(len(room.recognizer.heard[0].strip(b"\0")) / 32 - 25_000) < 2


async def test_one_huge_chunk_leaves_the_loop_to_others(start_voice, call, sounds):
    await start_voice(max_message_bytes=2 << 20)
    phone, other = await call(), await call()
    await phone.audio(sounds.tone(20_000) + sounds.silence(704), chunk_bytes=1 << 20)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await phone.until("speech_stopped")
    counting.cancel()
    assert turns > 100
    await other.all_until_pong()


async def test_messages_still_go_to_everyone_in_the_session(start_voice, call):
    await start_voice()
    ann, bob = await call(session="room"), await call(session="room")
    await ann.send("message", {"hello": 1})
    assert await bob.until("message") == {"hello": 1}


async def test_what_is_answered_goes_to_the_session_and_its_voice_to_the_one_who_spoke_alone(start_voice, call):
    await start_voice()
    ann, bob = await call(session="room"), await call(session="room")
    for number, phone in enumerate((ann, bob), 1):
        await phone.send("text_input", {"text": "hi"})
        await phone.until("response_done", responseId=f"r{number}", turnId=f"t{number}")
    mine = [envelope["type"] for envelope in ann.got if envelope.get("data", {}).get("responseId") == "r1"]
    assert {"response_started", "llm_response", "audio_chunk", "response_done"} <= set(mine)
    others = [envelope for envelope in bob.got if envelope.get("data", {}).get("responseId") == "r1"]
    assert {envelope["type"] for envelope in others} == {"response_started", "llm_response", "response_done"}
    assert all(envelope["seq"] for envelope in others)


@pytest.mark.parametrize("goes_on", ["before it is back", "when it is back", "never"])
async def test_who_is_cut_in_the_middle_of_an_answer_finds_all_of_it(start_voice, call, room, guest_token, goes_on):
    await start_voice(**({"stage_timeout_ms": 500} if goes_on == "never" else {}))
    token, more = guest_token(), asyncio.Event()
    room.responder.scripts = [["It is ", more, "noon."]]
    phone = await call(token=token)
    greeting = phone.client.greeting["data"]
    await phone.send("text_input", {"text": "what time is it"})
    await phone.until("llm_response")
    phone.client.ws.transport.abort()  # and what it has read is forgotten with it
    await asyncio.wait_for(room.server.connections.wait_empty(), 20)
    if goes_on == "before it is back":
        more.set()
    recovery = greeting["recovery"]
    resume = {"epoch": recovery["epoch"], "seq": recovery["seq"], "resume": recovery["resumeToken"]}
    again = await call(token=token, session=greeting["sessionId"], resume=resume)
    assert again.client.greeting["data"]["recovery"]["recovered"] is True
    if goes_on == "when it is back":
        more.set()
    done = await again.until("response_done")
    assert done["responseId"] == "r1"
    assert done["status"] in (("cancelled", "failed") if goes_on == "never" else ("completed",))
    assert [envelope["seq"] for envelope in again.got] == list(range(1, len(again.got) + 1))
    assert again.of("llm_response")[-1]["text"].strip() == ("It is" if goes_on == "never" else "It is noon.")


@pytest.mark.parametrize("where", ["hearing", "recognising", "responding", "synthesising", "playing"])
async def test_nothing_of_a_caller_is_left_when_it_is_gone(start_voice, call, room, sounds, where):
    await start_voice(frozen=True)
    phone = await call()
    if where == "hearing":
        await phone.audio(sounds.tone(640))
        await phone.until("transcript")
    elif where == "recognising":
        room.recognizer.finish_gate.clear()
        await phone.say()
        await asyncio.wait_for(room.recognizer.finishing.wait(), 20)
    else:
        stage = {"responding": room.responder, "synthesising": room.synthesizer}.get(where)
        if stage is not None:
            stage.gate.clear()
        await phone.send("text_input", {"text": "hi"})
        await phone.until("response_started" if stage is not None else "audio_chunk")
    before = set(asyncio.all_tasks())
    await phone.client.ws.close()
    async with asyncio.timeout(20):
        while room.under_way:
            await asyncio.sleep(0.01)
    await room.server.stop()
    left = [task for task in asyncio.all_tasks() - {asyncio.current_task()} if "wsserver/voice" in repr(task)]
    assert before
    assert left == []


async def test_a_shutdown_ends_what_is_under_way_and_closes_the_stages(start_voice, call, room):
    await start_voice(drain_timeout_ms=200)
    phone = await call()
    room.responder.gate.clear()
    await phone.send("text_input", {"text": "hi"})
    await phone.until("response_started")
    stages = (room.activity, room.recognizer, room.responder, room.synthesizer)
    assert all(stage.is_open for stage in stages)
    await room.server.stop()
    assert room.under_way == 0
    assert not any(stage.is_open for stage in stages)


async def test_stages_that_opened_are_closed_again_when_one_does_not(start_voice, room):
    async def fail() -> None:
        raise RuntimeError("no model")

    room.responder.open = fail
    with pytest.raises(Exception, match="no model"):
        await start_voice()
    assert not any(stage.is_open for stage in (room.activity, room.recognizer, room.synthesizer))


async def test_an_audio_end_with_an_id_is_answered_once_all_before_it_was_heard(start_voice, call, room, sounds):
    await start_voice()
    phone = await call()
    room.activity.gate.clear()
    await phone.audio(sounds.tone(640))
    await phone.send("audio_end", id="end-1")
    assert not [
        message for message in await phone.all_until_pong() if message["type"] in ("audio_end", "speech_started")
    ]
    room.activity.gate.set()
    await phone.until("audio_end")
    assert phone.got[-1]["id"] == "end-1"
    assert phone.of("speech_stopped") == [{"turnId": "t1"}]


async def test_an_audio_end_with_an_id_after_no_turn_gets_its_error_alone(start_voice, call, sounds):
    await start_voice()
    phone = await call()
    await phone.audio(sounds.silence(640))
    await phone.send("audio_end", id="end-1")
    assert (await phone.until("error"))["code"] == "ASR_ERROR"
    assert phone.got[-1]["id"] == "end-1"
    assert not [message for message in await phone.all_until_pong() if message["type"] == "audio_end"]

"""The turn detector: from probabilities of speech to turns, frame by frame of 32 ms."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.voice.settings import TurnPolicy
from wsserver.voice.turns import EndReason, SpeechHeard, TurnAudio, TurnDetector, TurnEnded, TurnEvent, TurnStarted

FRAME_MS = 32


def frames_of(duration_ms: int) -> int:
    return -(-duration_ms // FRAME_MS)


class Ear:
    """Feeds numbered frames, so that audio in the events can be told apart."""

    def __init__(self, policy: TurnPolicy = TurnPolicy()) -> None:
        self.detector = TurnDetector(policy, FRAME_MS)
        self.count = 0

    def hear(self, probability: float, frames: int = 1) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        for _ in range(frames):
            events += self.detector.feed(self.count.to_bytes(2, "big"), probability)
            self.count += 1
        return events


def numbers(events: Sequence[TurnEvent]) -> list[int]:
    """Return which frames are in the turns' audio."""
    audio = b"".join(event.audio for event in events if isinstance(event, TurnStarted | TurnAudio))
    return [int.from_bytes(audio[at : at + 2], "big") for at in range(0, len(audio), 2)]


def kinds(events: Sequence[TurnEvent]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, TurnAudio | SpeechHeard)]


def test_a_turn_holds_its_speech_what_preceded_it_and_the_silence_that_ended_it():
    ear = Ear()
    events = ear.hear(0.01, 50) + ear.hear(0.95, 20) + ear.hear(0.01, 50)
    assert kinds(events) == ["TurnStarted", "TurnEnded"]
    assert events[-1] == TurnEnded(EndReason.SILENCE, 512)
    assert numbers(events) == list(range(50 - frames_of(300), 70 + frames_of(500)))


@pytest.mark.parametrize("frames", [1, 2])
def test_a_click_after_a_long_silence_begins_no_turn(frames):
    ear = Ear()
    events = ear.hear(0.01, 100) + ear.hear(0.99, frames) + ear.hear(0.01, 100)
    assert events == []
    assert not ear.detector.in_turn


def test_speech_counts_on_over_a_short_dip_and_anew_after_a_pause():
    ear = Ear()
    ear.hear(0.9, 10)
    (_, speech) = (*ear.hear(0.1, 2), *ear.hear(0.9, 1))[-2:]
    assert speech == SpeechHeard(13 * FRAME_MS)
    (_, speech) = (*ear.hear(0.1, 4), *ear.hear(0.9, 1))[-2:]
    assert speech == SpeechHeard(FRAME_MS)


def test_speech_goes_on_where_it_would_not_begin():
    ear = Ear()
    assert ear.hear(0.4, 20) == []
    ear.hear(0.9, 5)
    assert kinds(ear.hear(0.4, 40)) == []
    assert kinds(ear.hear(0.3, frames_of(500))) == ["TurnEnded"]


def test_a_pause_shorter_than_the_end_silence_stays_in_the_turn():
    ear = Ear()
    ear.hear(0.9, 10)
    assert kinds(ear.hear(0.01, frames_of(500) - 1) + ear.hear(0.9, 3)) == []


def test_who_speaks_on_past_the_longest_turn_is_in_the_next_one_at_once_and_no_frame_is_lost():
    ear = Ear(TurnPolicy(max_turn_ms=1_000))
    events = ear.hear(0.9, 100)
    ends = [event for event in events if isinstance(event, TurnEnded)]
    assert len(ends) == 3
    assert all(end.reason is EndReason.MAX_LENGTH for end in ends)
    assert numbers(events) == list(range(100))


def test_the_end_of_the_audio_ends_the_turn_and_leaves_nothing_for_the_next():
    ear = Ear()
    ear.hear(0.9, 10)
    assert ear.detector.end() == [TurnEnded(EndReason.CLOSED, 0)]
    assert ear.detector.end() == []
    ear.hear(0.01, 5)
    ear.detector.end()
    assert numbers(ear.hear(0.9, 3)) == [15, 16, 17]


@given(st.lists(st.floats(0, 1), max_size=400), st.integers(1, 20))
def test_whatever_is_heard_turns_begin_and_end_by_turns_and_their_audio_is_in_order(probabilities, max_frames):
    ear = Ear(TurnPolicy(max_turn_ms=max_frames * 100, end_silence_ms=200))
    events = [event for probability in probabilities for event in ear.hear(probability)] + ear.detector.end()
    assert kinds(events) == ["TurnStarted", "TurnEnded"] * (len(kinds(events)) // 2)
    heard = numbers(events)
    assert heard == sorted(set(heard))

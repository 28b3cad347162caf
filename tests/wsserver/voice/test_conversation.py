"""What is remembered of a conversation: what was heard, and not without end."""

from __future__ import annotations

from wsserver.voice.conversation import MAX_CHARS, MAX_ENTRIES, Conversation
from wsserver.voice.playback import Playback
from wsserver.voice.stages import Role, Said


class Now:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def spoken_playback() -> tuple[Playback, Now]:
    """Two sentences of a second each, all sent at once."""
    now = Now()
    playback = Playback(now)
    playback.sentence("One two three four.", 0)
    playback.sent(1000)
    playback.sentence_done(1000)
    playback.sentence("Five six seven eight.", 1000)
    playback.sent(1000)
    playback.sentence_done(2000)
    return playback, now


def test_a_conversation_keeps_who_said_what_in_order():
    conversation = Conversation()
    conversation.add(Role.USER, "hello")
    conversation.add(Role.ASSISTANT, "hi")
    conversation.add(Role.ASSISTANT, "")
    assert conversation.history() == (Said(Role.USER, "hello"), Said(Role.ASSISTANT, "hi"))


def test_old_entries_go_and_the_first_is_always_the_users():
    conversation = Conversation()
    for number in range(100):
        conversation.add(Role.USER, f"question {number}")
        conversation.add(Role.ASSISTANT, f"answer {number}")
        assert len(conversation.history()) <= MAX_ENTRIES
        assert conversation.history()[0].role is Role.USER
    assert conversation.history()[-1].text == "answer 99"


def test_long_entries_push_out_old_ones_but_never_the_newest():
    conversation = Conversation()
    conversation.add(Role.USER, "a" * (MAX_CHARS - 10))
    conversation.add(Role.ASSISTANT, "b" * 20)
    conversation.add(Role.USER, "c")
    assert [said.text for said in conversation.history()] == ["c"]
    conversation.add(Role.USER, "d" * (MAX_CHARS * 2))
    assert [len(said.text) for said in conversation.history()] == [MAX_CHARS * 2]


def test_what_was_played_is_what_was_sent_less_what_is_ahead():
    playback, now = spoken_playback()
    assert (playback.played_ms(), playback.left_ms()) == (0, 2000)
    now.now += 0.5
    assert (playback.played_ms(), playback.left_ms()) == (500, 1500)
    now.now += 9
    assert (playback.played_ms(), playback.left_ms()) == (2000, 0)


def test_a_player_that_ran_dry_goes_on_where_it_stopped():
    playback, now = spoken_playback()
    now.now += 10
    playback.sent(1000)
    now.now += 0.25
    assert (playback.played_ms(), playback.left_ms()) == (2250, 750)


def test_the_listeners_own_figure_counts_as_far_as_it_was_sent():
    playback, _ = spoken_playback()
    assert [playback.played_ms(claim) for claim in (-5, 0, 700, 9_999_999)] == [0, 0, 700, 2000]


def test_of_a_sentence_that_was_cut_off_its_share_of_words_was_spoken():
    playback, _ = spoken_playback()
    assert playback.spoken(0) == ""
    assert playback.spoken(100) == ""
    assert playback.spoken(500) == "One two"
    assert playback.spoken(1000) == "One two three four."
    assert playback.spoken(1300) == "One two three four. Five"
    assert playback.spoken(2000) == "One two three four. Five six seven eight."


def test_a_sentence_that_is_still_synthesised_is_measured_by_its_length():
    playback = Playback(lambda: 0.0)
    playback.sentence("one two three four five six seven eight nine ten", 0)
    playback.sent(300)
    assert playback.spoken(300) == ""
    playback.sent(1300)
    assert playback.spoken(1600) == "one two three four five"

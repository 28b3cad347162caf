"""A streamed text becomes sentences at the right places, whatever the pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.voice.sentences import MAX_SENTENCE_CHARS, SentenceSplitter


def split(text: str, piece_chars: int = 1) -> list[str]:
    splitter = SentenceSplitter()
    found = []
    for at in range(0, len(text), piece_chars):
        found += splitter.feed(text[at : at + piece_chars])
    return found + splitter.finish()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("It is 3.14 or 1,000.5. Really.", ["It is 3.14 or 1,000.5.", "Really."]),
        ("In 2024. Then came 2025.", ["In 2024.", "Then came 2025."]),
        ("Dr. Smith met Mrs. J. R. Jones, e.g. Anna.", ["Dr. Smith met Mrs. J. R. Jones, e.g. Anna."]),
        ("At 5 p.m. he left. At 6 p.m. She came.", ["At 5 p.m. he left.", "At 6 p.m.", "She came."]),
        ("Milk, eggs, etc. are there.", ["Milk, eggs, etc. are there."]),
        ("Well... I see... yes… no.", ["Well...", "I see... yes… no."]),
        ("What?! No.", ["What?!", "No."]),
        ('"Really?" she said. "Yes." (Maybe.) So.', ['"Really?" she said.', '"Yes."', "(Maybe.)", "So."]),
        ("1. First\n2. Second\n\nThird", ["1. First", "2. Second", "Third"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("It was I. Then no one.", ["It was I.", "Then no one."]),
        ("  \n ", []),
        ("", []),
    ],
    ids=lambda value: "" if isinstance(value, list) else ascii(value[:12]),
)
def test_text_is_split_at_sentence_ends_and_nowhere_else(text, sentences):
    assert split(text) == sentences
    assert split(text, len(text) or 1) == sentences


def test_a_sentence_is_given_out_as_soon_as_the_next_one_begins():
    splitter = SentenceSplitter()
    assert splitter.feed("One is here. ") == []
    assert splitter.feed("T") == ["One is here."]
    assert splitter.finish() == ["T"]


def test_a_long_sentence_is_cut_at_its_last_comma():
    found = split("these are words, " * 30 + "end.")
    assert len(found) > 1
    assert all(item.endswith("words,") for item in found[:-1])
    assert all(len(item) <= MAX_SENTENCE_CHARS for item in found)


def test_a_long_sentence_without_commas_is_cut_between_words_and_one_word_anywhere():
    assert {word for sentence in split("word " * 200) for word in sentence.split()} == {"word"}
    assert [len(sentence) for sentence in split("x" * 500)] == [MAX_SENTENCE_CHARS, MAX_SENTENCE_CHARS, 20]


@given(st.text(alphabet="aB1.,!? \n…\"'", max_size=700), st.integers(1, 50))
def test_no_text_is_lost_and_the_pieces_it_came_in_do_not_matter(text, piece_chars):
    found = split(text, piece_chars)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(item.strip() == item and 0 < len(item) <= MAX_SENTENCE_CHARS for item in found)

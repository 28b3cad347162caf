"""A batch framed in one go is what its messages are one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.envelope import with_seq
from wscore.frames import text_frame
from wscore.framing import framed, numbered

# Around the sizes at which a header takes more bytes, and from which on none is at hand.
SIZES = st.sampled_from(
    (2, 3, 113, 114, 115, 116, 117, 125, 126, 127, 1008, 1014, 1015, 1016, 1023, 1024, 65_520, 65_536)
)


def envelope(size: int) -> bytes:
    return b"{" + b"x" * (size - 2) + b"}"


@given(st.lists(SIZES.map(envelope), max_size=5))
def test_a_batch_is_what_its_messages_are_one_by_one(envelopes):
    assert framed(envelopes) == b"".join(map(text_frame, envelopes))


@given(st.lists(SIZES.map(envelope), min_size=1, max_size=5), st.sampled_from((1, 8, 97, 100, 998, 123_456)))
def test_each_message_of_a_batch_gets_its_seq(envelopes, first_seq):
    one_by_one = [with_seq(envelope, seq) for seq, envelope in enumerate(envelopes, first_seq)]
    assert numbered(envelopes, first_seq) == one_by_one
    assert framed(envelopes, first_seq) == b"".join(map(text_frame, one_by_one))


@pytest.mark.parametrize("size", [0, 1])
def test_a_payload_without_an_envelope_in_it_is_framed_as_well(size):
    assert framed([b"x" * size] * 2) == text_frame(b"x" * size) * 2

"""Filters: each term, their negation, and what is wrong with one that cannot be read."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsclient.dialling import read_envelope
from wsclient.filters import EVERYTHING, FilterError, MessageFilter
from wsclient.recording import Record


def message(text: str, *, is_sent: bool = False) -> Record:
    return Record(0, is_sent, text, read_envelope(text))


CHAT = message('{"type":"chat.said","timestamp":1,"sessionId":"abc-1","data":{"text":"Hello /you/"}}')
SENT = message('{"type":"message","timestamp":1,"data":"apple"}', is_sent=True)
ERROR = message('{"type":"error","timestamp":1,"data":{"code":"X"}}')
BARE = message("no envelope")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", [CHAT, SENT, ERROR, BARE]),
        ("type:chat.*", [CHAT]),
        ("type:message,error", [SENT, ERROR]),
        ("-type:chat.*", [SENT, ERROR, BARE]),
        ("!errors", [CHAT, SENT, BARE]),
        ("errors", [ERROR]),
        ("dir:out", [SENT]),
        ("dir:in", [CHAT, ERROR, BARE]),
        ("session:abc", [CHAT]),
        ("hello", [CHAT]),
        ("/hello/", []),
        ("/hello/i", [CHAT]),
        (r"/\/you\//", [CHAT]),
        ("/app le|apple/", [SENT]),
        ("dir:in -errors type:*", [CHAT]),
        ("  apple   dir:out ", [SENT]),
        ("http://x", []),
    ],
)
def test_what_passes(text, passes):
    parsed = MessageFilter.parse(text)
    assert [item for item in (CHAT, SENT, ERROR, BARE) if parsed.matches(item)] == passes
    assert parsed.is_empty is (not text.strip())
    assert str(parsed) == text.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dir:up", "column 1: there is no direction 'up'; write dir:in or dir:out"),
        ("apple type:", "column 7: type: asks for nothing"),
        ("a /(/", "column 3: the /regex/ is broken"),
        ("/open", "column 1: the /regex/ has no end"),
        ("/x/g", "the flags 'g' are not known"),
        ("/(?a)(?u)x/", "column 1: the /regex/ is broken"),
        ("/a{" + "9" * 5000 + "}/", "column 1: the /regex/ is broken"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_column(text, problem):
    with pytest.raises(FilterError) as error:
        MessageFilter.parse(text)
    assert problem in str(error.value)


@given(st.text(alphabet="tyepdir:/\\-! a*[(i.", max_size=30))
def test_any_text_is_a_filter_or_an_error(text):
    try:
        parsed = MessageFilter.parse(text)
    except FilterError:
        return
    assert parsed.matches(CHAT) in (True, False)
    assert str(MessageFilter.parse(str(parsed))) == str(parsed)


def test_the_empty_filter_is_there_to_be_used():
    assert EVERYTHING.is_empty
    assert EVERYTHING.matches(BARE)


def test_only_the_start_of_a_huge_text_is_searched():
    assert not MessageFilter.parse("needle").matches(message("x" * 100_000 + "needle"))


def test_a_regex_that_a_future_python_may_read_otherwise_warns_nobody(recwarn):
    warnings.simplefilter("always")
    assert MessageFilter.parse("/[[x]/").matches(message("[x"))
    assert not list(recwarn)

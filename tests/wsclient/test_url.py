"""The URL of a connection: its defaults, its refusals and what is shown of it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsclient import Client
from wsclient.url import DEFAULT_URL, connect_url, has_token, is_loopback_url, normalise_url
from wscore.errors import ConfigError
from wscore.text import REDACTED, redact

GUEST = "guest_0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21_1700000000000"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        (DEFAULT_URL, "ws://127.0.0.1:8765/socket.io/"),
        ("ws://host", "ws://host/"),
        ("ws://host:9000", "ws://host:9000/"),
        ("ws://host/", "ws://host/"),
        ("wss://host/chat", "wss://host/chat"),
        ("WS://host", "ws://host/"),
        ("ws://host?a=1", "ws://host/?a=1"),
        ("ws://host/x?a=1&b=%20#part", "ws://host/x?a=1&b=%20"),
        ("ws://[::1]:8765", "ws://[::1]:8765/"),
        ("localhost:3000", "ws://localhost:3000/"),
        ("localhost", "ws://localhost/"),
        ("127.0.0.1:3000/chat?a=1", "ws://127.0.0.1:3000/chat?a=1"),
        ("[::1]:3000", "ws://[::1]:3000/"),
        ("app.example:8080", "ws://app.example:8080/"),
        ("app.example", "wss://app.example/"),
        ("app.example:443/x", "wss://app.example:443/x"),
    ],
)
def test_a_url_gets_a_scheme_and_keeps_the_rest(url, normal):
    assert normalise_url(url) == normal
    assert normalise_url(normal) == normal


@pytest.mark.parametrize(
    ("url", "problem", "mend"),
    [
        ("http://host/", "'http://host/' is not a ws:// or wss:// URL", "did you mean ws://?"),
        ("https://host/", "'https://host/' is not a ws:// or wss:// URL", "did you mean wss://?"),
        ("ftp://host/", "'ftp://host/' is not a ws:// or wss:// URL", f"write it as {DEFAULT_URL}"),
        ("/host", "'/host' is not a ws:// or wss:// URL", f"write it as {DEFAULT_URL}"),
        ("", "'' is not a ws:// or wss:// URL", f"write it as {DEFAULT_URL}"),
        ("ws://", "'ws://' has no host", f"write it as {DEFAULT_URL}"),
        ("ws:///path", "'ws:///path' has no host", f"write it as {DEFAULT_URL}"),
        ("ws://:8765/", "'ws://:8765/' has no host", f"write it as {DEFAULT_URL}"),
        ("ws://ho st/", "'ws://ho st/' contains a space", f"write it as {DEFAULT_URL}"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_the_mend(url, problem, mend):
    with pytest.raises(ConfigError) as caught:
        normalise_url(url)
    assert str(caught.value) == f"URL: {problem}; {mend}"


@pytest.mark.parametrize("url", ["ws://host:port/", "ws://host:70000/", "ws://[::1/"])
def test_a_url_that_cannot_be_read_is_refused(url):
    with pytest.raises(ConfigError, match="URL: ") as caught:
        normalise_url(url)
    assert caught.value.mend == f"write it as {DEFAULT_URL}"


@pytest.mark.parametrize("url", [f"http://host/?token={GUEST}", f"ws://host:port/?token={GUEST}", f"ws://a b/?{GUEST}"])
def test_a_refusal_does_not_show_the_token(url):
    with pytest.raises(ConfigError) as caught:
        normalise_url(url)
    assert GUEST not in f"{caught.value} {caught.value!r}"
    assert REDACTED in str(caught.value)


def test_a_client_refuses_a_bad_url_at_once():
    with pytest.raises(ConfigError, match="did you mean ws"):
        Client("http://127.0.0.1:8765/")


@pytest.mark.parametrize(
    ("query", "found"),
    [("", False), ("?a=1", False), ("?mytoken=x", False), ("?token=x", True), ("?a=1&token=x", True)],
)
def test_a_url_may_carry_its_own_token(query, found):
    assert has_token(f"ws://host/{query}") is found


def test_token_and_session_go_into_the_query():
    url = connect_url("ws://host/socket.io/?a=1", token=GUEST, session_id="room")
    assert url == f"ws://host/socket.io/?a=1&token={GUEST}&sessionId=room"
    assert connect_url("ws://host/x", token=None, session_id=None) == "ws://host/x"


@settings(max_examples=100, deadline=None)
@given(token=st.text(min_size=1, max_size=30), session=st.text(min_size=1, max_size=30))
def test_token_and_session_are_quoted(token, session):
    parts = urlsplit(connect_url("ws://host/socket.io/", token=token, session_id=session))
    assert (parts.path, parts.fragment) == ("/socket.io/", "")
    assert parts.query.isascii()
    assert parse_qs(parts.query, strict_parsing=True) == {"token": [token], "sessionId": [session]}


def test_the_shown_url_has_no_token():
    assert redact(connect_url("ws://host/?a=1", token="any thing", session_id="room")) == (
        f"ws://host/?a=1&token={REDACTED}&sessionId=room"
    )
    client = Client(f"ws://host/?token={GUEST}")
    assert client.shown_url == f"ws://host/?token={REDACTED}"
    assert GUEST not in repr(client)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("ws://localhost:1/", True),
        ("ws://127.9.9.9/", True),
        ("ws://[::1]/", True),
        ("ws://192.168.0.1/", False),
        ("ws://localhost.example/", False),
    ],
)
def test_loopback_is_told_from_the_rest(url, loopback):
    assert is_loopback_url(url) is loopback


def test_a_user_and_password_are_not_shown():
    client = Client("ws://alice:s3cret@host/")
    assert client.shown_url == f"ws://{REDACTED}@host/"
    assert "s3cret" not in repr(client)
    with pytest.raises(ConfigError) as caught:
        normalise_url("http://alice:s3cret@host/")
    assert "s3cret" not in str(caught.value)


def test_a_session_that_is_asked_for_takes_the_place_of_the_one_in_the_url():
    url = connect_url("ws://host/x?sessionId=old&a=1", token=None, session_id="new")
    assert url == "ws://host/x?a=1&sessionId=new"

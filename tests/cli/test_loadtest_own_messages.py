"""`wsctl loadtest --message` at a wsctl server: it is still one, with guests, sessions, codes and heartbeats."""

from __future__ import annotations

import json

import pytest

SECRET = "a secret of no less than 32 bytes, for tests"
SHORT = ("--connections", "4", "--ramp", "100ms", "--duration", "1s", "--drain", "1s", "--json")
ASK = ("heartbeat", "--rate", "40", "--message", '{"type":"ping","data":{"n":{{number}}},"id":"{{id}}"}')
SAY = ("broadcast", "--rate", "20", "--sessions", "2", "--message", '{"type":"message","data":{"s":"{{stamp}}"}}')
SIGNED = ("--guests", "signed", "--session-join", "open")
NO_GUESTS = ("--guests", "off", "--session-join", "open")


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "jwt.secret"
    path.write_text(SECRET)
    return str(path)


@pytest.mark.parametrize(
    ("load", "guests", "who"),
    [
        (ASK, (), ()),
        pytest.param(ASK, SIGNED, ("--jwt-secret-file",), marks=pytest.mark.slow),
        pytest.param(SAY, (), (), marks=pytest.mark.slow),
        (SAY, NO_GUESTS, ("--users", "--jwt-secret-file")),
    ],
    ids=["asked by guests", "asked by signed guests", "said by guests", "said by users"],
)
def test_own_messages_come_from_guests_and_users_in_the_sessions_of_the_run(
    load, guests, who, serving, wsctl, secret_file
):
    key = ("--jwt-secret-file", secret_file) if guests else ()
    server = serving(*guests, *key)
    done = wsctl("loadtest", *load, server.url, *who, *((secret_file,) if who else ()), *SHORT)
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    ledger, doubts = summary["ledger"], summary["generator"]["doubts"]
    assert [reason for reason in summary["reasons"] if reason not in doubts] == []
    assert summary["errors"] == {}
    assert ledger["received"] == ledger["expected"] == 40  # of 20 said each goes to both members of a session


@pytest.mark.parametrize("load", [ASK, pytest.param(SAY, marks=pytest.mark.slow)], ids=["asked", "said"])
def test_a_token_that_is_refused_is_told_with_its_code(load, serving, wsctl, secret_file):
    server = serving(*NO_GUESTS, "--jwt-secret-file", secret_file)
    done = wsctl("loadtest", *load, server.url, *SHORT)
    assert done.returncode == 4
    assert "the server refused the token: AUTH_INVALID" in done.stderr


def test_an_error_after_the_greeting_is_counted_by_its_code_and_ends_nothing(serving, wsctl):
    server = serving("--rate-limit", "10")
    done = wsctl("loadtest", *ASK, server.url, "--rate", "200", *SHORT)
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    assert set(summary["errors"]) == {"RATE_LIMITED"}
    assert summary["connections"]["lost"] == 0


def test_rooms_and_own_messages_do_not_go_together_and_wsctl_is_not_said_to_have_none(serving, wsctl):
    done = wsctl("loadtest", *SAY[:3], *SAY[5:], serving().url, "--rooms", "2", *SHORT)
    assert done.returncode == 2
    assert done.stderr.startswith("wsctl: --rooms: --message is given too, and goes to sessions; leave one of them")

"""Requests are signed as Standard Webhooks has it: its own library verifies them, and tells what was changed."""

from __future__ import annotations

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.backend import SECRET
from wscore.errors import ConfigError
from wsserver.webhooks.settings import HookUrl, WebhookSettings, events_of
from wsserver.webhooks.signing import SigningKeys

OTHER = "whsec_" + "b3RoZXIgc2VjcmV0IG9mIDMyIGJ5dGVzIGZvciB0ZXN0cw=="
BODY = '{"type":"events","data":{"user":"ä"}}'.encode()


def headers(keys, body=BODY, at=None):
    signed = SigningKeys(keys, "test").headers("msg_1", int(time.time()) if at is None else at, body)
    return {name.decode(): value.decode() for name, value in signed}


def test_the_library_of_the_scheme_verifies_it():
    assert Webhook(SECRET).verify(BODY, headers([SECRET])) == {"type": "events", "data": {"user": "ä"}}


def test_each_of_several_keys_signs():
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(BODY, headers([OTHER, SECRET]))


@pytest.mark.parametrize(
    ("keys", "body", "at", "id"),
    [
        ([OTHER], BODY, None, "msg_1"),
        ([SECRET], BODY + b" ", None, "msg_1"),
        ([SECRET], BODY, 1_000_000, "msg_1"),
        ([SECRET], BODY, None, "msg_2"),
    ],
    ids=["key", "body", "time", "id"],
)
def test_what_was_changed_does_not_verify(keys, body, at, id):
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers(keys, at=at), "webhook-id": id})


@pytest.mark.parametrize(
    "secret", ["short", "whsec_", "whsec_%%%", "whsec_" + "QUFB" * 5, "whsec_" + "QUFB" * 30, "ü" * 40]
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret):
    with pytest.raises(ConfigError) as caught:
        SigningKeys([secret], "WSCTL_WEBHOOK_SECRET")
    assert str(caught.value).startswith("WSCTL_WEBHOOK_SECRET: ")
    assert "openssl rand" in str(caught.value)
    assert secret == "whsec_" or secret not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://secret.example/x",
            "secret.example",
            "http://",
            "http://[::1",
            "http://secret:x@h/",
            "http://h:99999/",
        ),
        *("http://h/#secret", "http://h/ secret", "https://sécret.example/", "http://h/\nsecret"),
    ],
)
def test_what_nothing_can_be_posted_to_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        HookUrl("--webhook", url)
    assert "cret" not in str(caught.value)


def test_no_repr_shows_a_target_or_a_key():
    settings = WebhookSettings((HookUrl("--webhook", "https://h.example/canary"),), SigningKeys([SECRET], "x"))
    assert "canary" not in repr(settings)
    assert "example" not in repr(settings)
    assert SECRET[6:] not in repr(settings)
    assert "secret of" not in repr(settings)


def test_events_are_chosen_by_name():
    assert events_of("connected, joined") == {"connected", "joined"}
    for text in ("", ",", "connect", "connected joined"):
        with pytest.raises(ConfigError, match="room_occupied"):
            events_of(text)

"""Names and patterns of rooms, and what a token's `rooms` claim allows."""

from __future__ import annotations

import msgspec
import pytest

from wscore.envelope import InvalidMessageError, decode_data
from wscore.principal import AuthError
from wscore.rooms import RoomAccess, RoomGrant, RoomName, granted, is_room_name, is_room_pattern, narrowest, read_grants
from wscore.tokens import check_claims

CLAIMS = {"sub": "alice", "exp": 2_000_000_000}
NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "is_name", "is_pattern"),
    [
        ("lobby", True, True),
        ("a" * 128, True, True),
        ("a" * 129, False, False),
        ("a" * 127 + "*", False, True),
        ("a" * 128 + "*", False, False),
        ("*", False, True),
        ("chat.*", False, True),
        ("ch*at", False, False),
        ("**", False, False),
        ("", False, False),
        ("lobby\n", False, False),
        ("zażółć", False, False),
        (7, False, False),
    ],
)
def test_a_room_has_1_to_128_characters_and_a_pattern_a_star_at_its_end_alone(text, is_name, is_pattern):
    assert is_room_name(text) is is_name
    assert is_room_pattern(text) is is_pattern
    try:
        assert msgspec.convert(text, RoomName) == text
    except msgspec.ValidationError:
        assert not is_name
    else:
        assert is_name


def test_data_with_another_name_is_refused_in_words():
    with pytest.raises(InvalidMessageError, match=r"^Expected 1 to 128 of `A-Z a-z 0-9 _ \. : -` - at `\$\.data`$"):
        decode_data(msgspec.Raw(b'"a room"'), RoomName)


def test_the_narrowest_pattern_decides_whatever_the_order():
    patterns = ["*", "chat.*", "chat.news", "chat.n*"]
    for ordered in (patterns, patterns[::-1]):
        assert narrowest(ordered, "chat.news") == "chat.news"
        assert narrowest(ordered, "chat.new") == "chat.n*"
        assert narrowest(ordered, "chat.") == "chat.*"
        assert narrowest(ordered, "game") == "*"
    assert narrowest(["chat.*"], "chat") is None


def test_a_claim_allows_to_join_and_to_publish_or_to_listen():
    grants = read_grants(["chat.*", {"pattern": "chat.news", "publish": False}, {"pattern": "x"}])
    assert grants == (RoomGrant("chat.*"), RoomGrant("chat.news", publish=False), RoomGrant("x"))
    assert granted(grants, "chat.a") is RoomAccess.PUBLISH
    assert granted(grants, "chat.news") is RoomAccess.LISTEN
    assert granted(grants, "x") is RoomAccess.PUBLISH
    assert granted(grants, "elsewhere") is RoomAccess.NONE


@pytest.mark.parametrize(
    "claim",
    [
        None,
        "lobby",
        {"lobby": True},
        ["a*b"],
        [""],
        [7],
        [None],
        [{"publish": False}],
        [{"pattern": "a", "publish": "no"}],
        [{"pattern": "a", "publish": 0}],
        [{"pattern": ["a"]}],
        [{"pattern": "a", "write": False}],
        ["a"] * 65,
    ],
)
def test_a_claim_that_cannot_be_understood_refuses_the_token(claim):
    with pytest.raises(AuthError) as caught:
        check_claims(CLAIMS | {"rooms": claim}, NOW_MS)
    assert caught.value.rule == "jwt-rooms"
    assert "rooms" in str(caught.value)


def test_a_principal_has_the_claim_or_knows_that_there_was_none():
    assert check_claims(CLAIMS, NOW_MS).rooms is None
    assert check_claims(CLAIMS | {"rooms": []}, NOW_MS).rooms == ()
    assert check_claims(CLAIMS | {"rooms": ["a"] * 64}, NOW_MS).rooms == (RoomGrant("a"),) * 64

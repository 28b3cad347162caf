"""What can be revoked, whom that covers, and until when."""

from __future__ import annotations

import tracemalloc
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SECRET
from wscore import revocations
from wscore.guest import GuestMode, GuestVerifier, mint_guest_token
from wscore.principal import AuthError, Principal
from wscore.revocations import DEFAULT_KEPT_MS, ENTRY_BYTES, GRACE_MS, Revocation, Revocations, entry_of
from wscore.tokens import JwtKey, JwtVerifier, mint_jwt

NOW_MS = 1_800_000_000_000
GUEST = "guest_6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
VERIFIER = JwtVerifier(JwtKey(secret=SECRET))


def principal(user="alice", *, guest=False, jti=None, issued=NOW_MS):
    return Principal(user, guest, NOW_MS * 2, token_id=jti, issued_at_ms=issued)


def revoked(*wanted, now_ms=NOW_MS):
    held = Revocations()
    held.add(entry_of(Revocation(**fields), now_ms) for fields in wanted)
    return held


def test_a_jti_covers_the_token_that_has_it_and_no_other():
    held = revoked({"jti": "one"})
    assert held.is_revoked(principal(jti="one"))
    assert held.is_revoked(principal("bob", jti="one", issued=None))
    assert not held.is_revoked(principal(jti="two"))
    assert not held.is_revoked(principal("one"))


def test_a_user_is_covered_with_all_tokens_those_of_later_too():
    held = revoked({"user_id": "alice"})
    assert held.is_revoked(principal())
    assert held.is_revoked(principal(issued=NOW_MS + 10**9))
    assert not held.is_revoked(principal("alice", guest=True))
    assert not held.is_revoked(principal("bob"))


def test_a_guest_is_known_by_the_form_of_the_id_unless_that_is_said():
    assert revoked({"user_id": GUEST}).is_revoked(principal(GUEST, guest=True))
    assert not revoked({"user_id": GUEST}).is_revoked(principal(GUEST))
    named = revoked({"user_id": GUEST, "is_guest": False})
    assert named.is_revoked(principal(GUEST))
    assert not named.is_revoked(principal(GUEST, guest=True))


@pytest.mark.parametrize("user_id", [None, "alice"])
def test_issued_before_covers_older_tokens_and_those_that_do_not_say(user_id):
    held = revoked({"user_id": user_id, "issued_before_ms": NOW_MS - 1000})
    assert held.is_revoked(principal(issued=NOW_MS - 1001))
    assert held.is_revoked(principal(issued=None))
    assert not held.is_revoked(principal(issued=NOW_MS - 1000))
    assert held.is_revoked(principal("bob", issued=None)) is (user_id is None)
    assert held.is_revoked(principal(GUEST, guest=True, issued=0)) is (user_id is None)


def test_two_for_the_same_are_one_that_covers_both():
    held = revoked(
        {"user_id": "alice", "issued_before_ms": NOW_MS - 5000, "expires_at_ms": NOW_MS + 9000},
        {"user_id": "alice", "issued_before_ms": NOW_MS - 1000, "expires_at_ms": NOW_MS + 1000},
    )
    assert len(held) == 1
    held.expire(NOW_MS + 9000 + GRACE_MS - 1)
    assert held.is_revoked(principal(issued=NOW_MS - 1001))
    held.expire(NOW_MS + 9000 + GRACE_MS)
    assert not held.is_revoked(principal(issued=0))
    assert len(held) == 0


def test_what_is_said_again_is_no_news_and_takes_no_room():
    held = Revocations()
    for number in range(1000):
        entry = entry_of(Revocation(user_id="alice", expires_at_ms=NOW_MS + 1000 + number), NOW_MS)
        assert held.add([entry]) is (number == 0)
        assert held.add([entry]) is False
    assert len(held._ends) < 100
    assert held.size == ENTRY_BYTES


def test_it_is_kept_for_30_days_unless_something_else_is_said():
    held = revoked({"jti": "one"})
    held.expire(NOW_MS + DEFAULT_KEPT_MS)
    assert held.is_revoked(principal(jti="one"))
    held.expire(NOW_MS + DEFAULT_KEPT_MS + GRACE_MS)
    assert not held.is_revoked(principal(jti="one"))
    assert Revocation(jti="one").expires_at(NOW_MS) == NOW_MS + DEFAULT_KEPT_MS


@given(st.integers(0, 5000), st.integers(0, 5000), st.booleans())
def test_a_token_that_is_revoked_until_its_own_end_is_never_accepted_again(lives_s, later_s, has_jti):
    issued_s = NOW_MS // 1000
    name = {"jti": "the one"} if has_jti else {}
    token = mint_jwt(SECRET, {"sub": "alice", "exp": issued_s + lives_s + 1, "iat": issued_s, **name})
    fields = {"jti": "the one"} if has_jti else {"user_id": "alice", "issued_before_ms": NOW_MS + 1}
    held = revoked({**fields, "expires_at_ms": (issued_s + lives_s + 1) * 1000})
    at_ms = NOW_MS + later_s * 1000
    held.expire(at_ms)
    try:
        verified = VERIFIER.verify(token, at_ms)
    except AuthError:
        assert at_ms // 1000 >= issued_s + lives_s + 1  # it has expired by itself
    else:
        assert held.is_revoked(verified)


ENTRIES = st.builds(
    lambda name, kind, before, lives: entry_of(
        Revocation(
            expires_at_ms=NOW_MS + lives,
            **{
                "token": {"jti": name},
                "user": {"user_id": name},
                "older": {"user_id": name, "issued_before_ms": NOW_MS - before},
                "all": {"issued_before_ms": NOW_MS - before},
            }[kind],
        ),
        NOW_MS,
    ),
    st.sampled_from("abc"),
    st.sampled_from(["token", "user", "older", "all"]),
    st.integers(0, 50),
    st.integers(1, 50),
)


@given(st.lists(ENTRIES, max_size=20), st.randoms(use_true_random=False), st.integers(0, 60))
def test_the_order_and_the_number_of_times_do_not_matter(entries, rng, later):
    first, second = Revocations(), Revocations()
    first.add(entries)
    twice = entries * 2
    rng.shuffle(twice)
    for entry in twice:
        second.add([entry])
    for held in (first, second):
        held.expire(NOW_MS + GRACE_MS + later)
    assert first.entries() == second.entries()
    kept = {entry.key for entry in entries if entry.until_ms > NOW_MS + GRACE_MS + later}
    assert first.entries().keys() == kept
    for name in "abc":
        for issued in (None, NOW_MS - 51, NOW_MS - 25, NOW_MS):
            for jti in (None, "a", "b"):
                who = principal(name, jti=jti, issued=issued)
                assert first.is_revoked(who) is second.is_revoked(who)
    assert (first._tokens + first._users + first._older + first._all_older) == len(first)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "needs a jti, a user_id or issued_before_ms"),
        ({"is_guest": True}, "needs a jti"),
        ({"jti": "x", "user_id": "y"}, "names one token"),
        ({"jti": "x", "issued_before_ms": NOW_MS}, "names one token"),
        ({"issued_before_ms": NOW_MS, "is_guest": True}, "there is none"),
        ({"jti": ""}, "1 to 8192"),
        ({"jti": "x" * 8193}, "1 to 8192"),
        ({"user_id": ""}, "1 to 256"),
        ({"user_id": "x" * 257}, "1 to 256"),
        ({"user_id": GUEST.upper(), "is_guest": True}, "guest_{uuid4}"),
        ({"user_id": "x", "issued_before_ms": NOW_MS // 1000}, "milliseconds"),
        ({"user_id": "x", "expires_at_ms": NOW_MS // 1000}, "milliseconds"),
        ({"user_id": "x", "expires_at_ms": 10**18}, "milliseconds"),
        ({"user_id": "x", "expires_at_ms": NOW_MS}, "in the past"),
        ({"issued_before_ms": NOW_MS + 60_000}, "in the future"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(fields, problem):
    with pytest.raises(ValueError, match=problem):
        entry_of(Revocation(**fields), NOW_MS)


def test_it_is_read_from_json_and_a_field_that_nobody_knows_is_refused():
    text = b'{"userId":"alice","isGuest":false,"issuedBeforeMs":1800000000000,"expiresAtMs":1800000009000}'
    read = msgspec.json.decode(text, type=Revocation)
    assert read == Revocation(user_id="alice", is_guest=False, issued_before_ms=NOW_MS, expires_at_ms=NOW_MS + 9000)
    assert msgspec.json.decode(b'{"jti":"x"}', type=Revocation) == Revocation(jti="x")
    for wrong in (b"{}", b'{"sub":"alice"}', b'{"jti":1}', b'{"jti":"x","userId":"y"}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Revocation)


def test_there_is_room_for_so_many_and_for_more_of_the_same(monkeypatch):
    monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 2)
    held = revoked({"jti": "a"}, {"jti": "b"})
    assert not held.has_room_for(entry_of(Revocation(jti="c"), NOW_MS))
    assert held.has_room_for(entry_of(Revocation(jti="a"), NOW_MS + 1))


def test_the_bytes_that_it_tells_are_those_that_it_takes():
    tracemalloc.start()
    try:
        held, before = Revocations(), tracemalloc.get_traced_memory()[0]
        for number in range(5000):
            fields = {"user_id": "u" * 200 + str(number), "issued_before_ms": NOW_MS - number}
            held.add([entry_of(Revocation(**fields, expires_at_ms=NOW_MS + number + 1), NOW_MS)])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.6 * held.size < taken <= held.size


def test_tokens_say_what_they_can_be_revoked_by():
    claims = {"sub": "alice", "exp": NOW_MS // 1000 + 60}
    bare = VERIFIER.verify(mint_jwt(SECRET, claims), NOW_MS)
    assert (bare.token_id, bare.issued_at_ms) == (None, None)
    full = VERIFIER.verify(mint_jwt(SECRET, {**claims, "jti": "j", "iat": NOW_MS / 1000 - 0.5}), NOW_MS)
    assert (full.token_id, full.issued_at_ms) == ("j", NOW_MS - 500)
    guest = GuestVerifier(GuestMode.UNSIGNED).verify(mint_guest_token(uuid.UUID(GUEST[6:]), NOW_MS - 7), NOW_MS)
    assert (guest.token_id, guest.issued_at_ms) == (None, NOW_MS - 7)
    assert revoked({"user_id": GUEST}).is_revoked(guest)


def test_half_a_surrogate_pair_in_a_jti_can_be_revoked_like_any_other():
    token = mint_jwt(SECRET, {"sub": "alice", "exp": NOW_MS // 1000 + 60, "jti": "\ud800"})
    assert revoked({"jti": "\ud800"}).is_revoked(VERIFIER.verify(token, NOW_MS))

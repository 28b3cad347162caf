"""Guest tokens: the exact form, the two ends of their life, the signed form, and the modes."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wscore.codes import ErrorCode
from wscore.guest import GUEST_TTL_MS, GuestMode, GuestVerifier, is_guest_id, mint_guest_token
from wscore.principal import AuthError

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 60 * 60 * 1000
SECRET = b"a secret for tests, 32 bytes or more"
GUEST = UUID("0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21")

unsigned = GuestVerifier(GuestMode.UNSIGNED)
signed = GuestVerifier(GuestMode.SIGNED, secret=SECRET)


def refusal(verifier: GuestVerifier, token: str, now_ms: int = NOW_MS) -> tuple[ErrorCode, str]:
    with pytest.raises(AuthError) as caught:
        verifier.verify(token, now_ms)
    assert str(GUEST) not in f"{caught.value} {caught.value!r}"
    return caught.value.code, caught.value.rule


def test_a_fresh_token_names_its_guest_and_its_end():
    principal = unsigned.verify(mint_guest_token(GUEST, NOW_MS), NOW_MS)
    assert (principal.user_id, principal.is_guest) == (f"guest_{GUEST}", True)
    assert principal.expires_at_ms == NOW_MS + DAY_MS
    assert (principal.session_id, principal.scopes) == (None, frozenset())


def test_the_token_has_the_form_of_the_seed():
    assert mint_guest_token(GUEST, 1700000000000) == "guest_0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21_1700000000000"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "guest_",
        "guest_nonsense",
        f"guest_{GUEST}",
        f"guest_{GUEST}_",
        f"guest_{GUEST}_-1",
        f"guest_{GUEST}_+1",
        f"guest_{GUEST}_1.5",
        f"guest_{GUEST}_1e3",
        f"guest_{GUEST}_1_000",
        f"guest_{GUEST}__{NOW_MS}",
        f"guest_{GUEST}_{NOW_MS}_",
        f"guest_{GUEST}_{NOW_MS}_x",
        f"guest_{GUEST}_{NOW_MS}_{'a' * 26}_",
        f"guest_{GUEST}_{'1' * 17}",
        f"guest_{GUEST}_0{NOW_MS}",
        f"guest_{GUEST}_{NOW_MS}\n",
        f" guest_{GUEST}_{NOW_MS}",
        f"GUEST_{GUEST}_{NOW_MS}",
        f"guest_{GUEST.hex}_{NOW_MS}",
        f"guest_0b8f9c5e-3f0a-11ee-9b1d-2a7e5d4c3b21_{NOW_MS}",  # version 1
        f"guest_0b8f9c5e-3f0a-4c6e-cb1d-2a7e5d4c3b21_{NOW_MS}",
        f"guest_{{{GUEST}}}_{NOW_MS}",
        f"guest_{GUEST}_" + str(NOW_MS).translate({ord(str(i)): 0x0660 + i for i in range(10)}),
        f"guest_{GUEST}_" + str(NOW_MS).translate({ord(str(i)): 0xFF10 + i for i in range(10)}),
        f"guest_{GUEST}_²",
    ],
)
def test_anything_but_the_exact_form_is_refused(token):
    assert refusal(unsigned, token) == (ErrorCode.AUTH_INVALID, "guest-format")
    assert refusal(signed, token) == (ErrorCode.AUTH_INVALID, "guest-format")


def test_an_upper_case_uuid_is_the_same_guest():
    token = f"guest_{str(GUEST).upper()}_{NOW_MS}"
    assert unsigned.verify(token, NOW_MS).user_id == f"guest_{GUEST}"


def test_a_guest_token_from_the_future_is_refused_beyond_60_s():
    assert unsigned.verify(mint_guest_token(GUEST, NOW_MS + 60_000), NOW_MS).is_guest
    late = mint_guest_token(GUEST, NOW_MS + 60_001)
    assert refusal(unsigned, late) == (ErrorCode.AUTH_INVALID, "guest-future")


def test_a_guest_token_lives_for_24_hours_to_the_millisecond():
    token = mint_guest_token(GUEST, NOW_MS)
    assert GUEST_TTL_MS == DAY_MS
    assert unsigned.verify(token, NOW_MS + DAY_MS - 1).is_guest
    assert refusal(unsigned, token, NOW_MS + DAY_MS) == (ErrorCode.AUTH_EXPIRED, "guest-expired")


def test_the_life_of_a_guest_token_can_be_set():
    short = GuestVerifier(GuestMode.UNSIGNED, ttl_ms=1000)
    token = mint_guest_token(GUEST, NOW_MS)
    assert short.verify(token, NOW_MS + 999).expires_at_ms == NOW_MS + 1000
    assert refusal(short, token, NOW_MS + 1000) == (ErrorCode.AUTH_EXPIRED, "guest-expired")


def test_a_signed_token_is_accepted_where_signatures_are_asked_for():
    token = mint_guest_token(GUEST, NOW_MS, SECRET)
    assert signed.verify(token, NOW_MS).user_id == f"guest_{GUEST}"
    assert len(token.rpartition("_")[2]) * 5 >= 128  # base32 carries 5 bits a character


def test_an_unsigned_token_is_refused_in_signed_mode():
    assert refusal(signed, mint_guest_token(GUEST, NOW_MS)) == (ErrorCode.AUTH_INVALID, "guest-unsigned")


def test_a_signed_token_is_an_ordinary_guest_in_unsigned_mode():
    assert unsigned.verify(mint_guest_token(GUEST, NOW_MS, SECRET), NOW_MS).user_id == f"guest_{GUEST}"


def test_a_signature_covers_uuid_and_timestamp():
    mac = mint_guest_token(GUEST, NOW_MS, SECRET).rpartition("_")[2]
    other = "b" if mac[0] == "a" else "a"
    for token in (
        f"guest_{uuid4()}_{NOW_MS}_{mac}",
        f"guest_{GUEST}_{NOW_MS + 1}_{mac}",
        f"guest_{GUEST}_{NOW_MS}0_{mac}",
        f"guest_{GUEST}_{NOW_MS}_{other}{mac[1:]}",
        mint_guest_token(GUEST, NOW_MS, b"another secret, also of 32 bytes or more"),
    ):
        assert refusal(signed, token) == (ErrorCode.AUTH_INVALID, "guest-signature")


def test_the_signature_is_checked_before_the_time():
    forged = f"guest_{GUEST}_1_{'a' * 26}"
    assert refusal(signed, forged) == (ErrorCode.AUTH_INVALID, "guest-signature")


def test_a_signed_token_expires_like_any_other():
    token = mint_guest_token(GUEST, NOW_MS - DAY_MS, SECRET)
    assert refusal(signed, token) == (ErrorCode.AUTH_EXPIRED, "guest-expired")


def test_switched_off_no_guest_comes_in():
    off = GuestVerifier(GuestMode.OFF, secret=SECRET)
    for token in (mint_guest_token(GUEST, NOW_MS), mint_guest_token(GUEST, NOW_MS, SECRET), "nonsense"):
        assert refusal(off, token) == (ErrorCode.AUTH_INVALID, "guests-off")


def test_signed_mode_without_a_secret_is_a_mistake():
    with pytest.raises(ValueError, match="secret"):
        GuestVerifier(GuestMode.SIGNED)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=100) | st.builds("guest_{}_{}".format, st.uuids(), st.text("0123456789_a٣", max_size=20)))
def test_any_text_gives_a_guest_or_auth_error(text):
    for verifier in (unsigned, signed):
        try:
            outcome = verifier.verify(text, NOW_MS).is_guest
        except AuthError as error:
            outcome = error.code
        assert outcome in (True, ErrorCode.AUTH_INVALID, ErrorCode.AUTH_EXPIRED)


@settings(max_examples=100, deadline=None)
@given(
    guest=st.uuids(version=4),
    issued_ms=st.integers(0, 10**15),
    age_ms=st.integers(-60_000, DAY_MS - 1),
    secret=st.none() | st.binary(min_size=32, max_size=64),
)
def test_whatever_is_minted_is_accepted_while_it_lives(guest, issued_ms, age_ms, secret):
    verifier = unsigned if secret is None else GuestVerifier(GuestMode.SIGNED, secret=secret)
    principal = verifier.verify(mint_guest_token(guest, issued_ms, secret), issued_ms + age_ms)
    assert (principal.user_id, principal.expires_at_ms) == (f"guest_{guest}", issued_ms + DAY_MS)


def test_the_id_of_a_guest_is_known_by_its_form():
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert is_guest_id(f"guest_{uuid}")
    for other in ("alice", f"guest_{uuid.upper()}", f"guest_{uuid}_1700000000000", f"guest_{uuid}\n", "guest_", uuid):
        assert not is_guest_id(other)

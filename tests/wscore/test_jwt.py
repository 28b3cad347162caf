"""JWTs: which are accepted, which rule refuses the others, and that no token text shows anywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wscore.codes import ErrorCode
from wscore.principal import AuthError, Principal
from wscore.tokens import ClaimNames, JwtKey, JwtVerifier, check_claims, mint_jwt, unverified_claims

NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000
SECRET = b"a secret for tests, 32 bytes or more"
INVALID, EXPIRED = ErrorCode.AUTH_INVALID, ErrorCode.AUTH_EXPIRED

verifier = JwtVerifier(JwtKey(secret=SECRET))


def claims(**changes: object) -> dict[str, object]:
    """Return good claims with changes; None takes a claim away."""
    merged = {"sub": "alice", "exp": NOW_S + 3600, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def hand_made(header: dict[str, object], payload: object, key: bytes = SECRET) -> str:
    """Sign with HS256 what no library would."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    body = f"{encode(json.dumps(header).encode())}.{encode(text.encode())}"
    return f"{body}.{encode(hmac.digest(key, body.encode(), hashlib.sha256))}"


def refusal(token: str, by: JwtVerifier = verifier, now_ms: int = NOW_MS) -> tuple[ErrorCode, str]:
    with pytest.raises(AuthError) as caught:
        by.verify(token, now_ms)
    shown = f"{caught.value} {caught.value!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(len(part) > 10 and part in shown for part in token.split("."))
    return caught.value.code, caught.value.rule


def test_a_good_token_names_its_user():
    token = mint_jwt(SECRET, claims(sid="room", scope="admin read"))
    expected = Principal("alice", False, NOW_MS + 3_600_000, "room", frozenset({"admin", "read"}))
    assert verifier.verify(token, NOW_MS) == expected


def test_unknown_claims_and_an_issuer_that_nobody_checks_are_ignored():
    token = mint_jwt(SECRET, claims(iss="somebody", iat=NOW_S, jti="7", name="Alice"))
    assert verifier.verify(token, NOW_MS).user_id == "alice"


@pytest.mark.parametrize("aud", ["elsewhere", ["elsewhere"], "", [], None, 5])
def test_a_token_for_an_audience_is_refused_where_none_is_configured(aud):
    token = hand_made({"alg": "HS256"}, {**claims(), "aud": aud})
    assert refusal(token) == (INVALID, "jwt-audience")


def test_scopes_are_words_or_a_list():
    for scope in ("admin read", ["admin", "read"]):
        assert verifier.verify(mint_jwt(SECRET, claims(scope=scope)), NOW_MS).scopes == {"admin", "read"}


def test_other_claims_can_name_the_user_the_session_and_the_scopes():
    names = ClaimNames(user="email", session="room", scope="roles")
    by = JwtVerifier(JwtKey(secret=SECRET), names=names)
    keycloak = claims(sub=None, sid="c1b3f0e2-sso", email="a@b.example", room="lobby", roles=["admin"], scope="openid")
    expected = Principal("a@b.example", False, NOW_MS + 3_600_000, "lobby", frozenset({"admin"}))
    assert by.verify(mint_jwt(SECRET, keycloak), NOW_MS) == expected
    assert verifier.verify(mint_jwt(SECRET, {**keycloak, "sub": "x"}), NOW_MS).session_id == "c1b3f0e2-sso"
    for changes, rule in (({"email": None}, "jwt-claim-missing"), ({"email": 5}, "jwt-sub"), ({"room": 5}, "jwt-sid")):
        assert refusal(mint_jwt(SECRET, {**claims(**{**keycloak, **changes})}), by) == (INVALID, rule)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nbf": None}, "nbf is null"),
        ({"iat": None}, "iat is null"),
        ({"exp": None}, "exp is null"),
        ({"sub": None}, "sub is null"),
        ({"jti": None}, "jti is null"),
        ({"jti": 5}, "jti is not a string"),
        ({"scope": None}, "scope is null"),
        ({"exp": NOW_S * 1000}, "exp is not a time in seconds"),
        ({"iat": NOW_S + 31}, "iat lies in the future"),
        ({"aud": "x"}, "this server has no --audience"),
    ],
)
def test_the_reason_says_what_is_wrong_with_which_claim(changes, words):
    with pytest.raises(AuthError, match=words):
        verifier.verify(hand_made({"alg": "HS256"}, {**claims(), **changes}), NOW_MS)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"exp": None}, "jwt-claim-missing"),
        ({"sub": None}, "jwt-claim-missing"),
        ({"exp": True}, "jwt-exp"),
        ({"exp": str(NOW_S + 3600)}, "jwt-exp"),
        ({"exp": [NOW_S + 3600]}, "jwt-exp"),
        ({"exp": -1}, "jwt-exp"),
        ({"exp": 1e30}, "jwt-exp"),
        ({"exp": 10**400}, "jwt-exp"),
        ({"exp": 253_402_300_800}, "jwt-exp"),
        ({"nbf": NOW_S + 31}, "jwt-not-yet"),
        ({"nbf": "soon"}, "jwt-nbf"),
        ({"nbf": True}, "jwt-nbf"),
        ({"nbf": 1e30}, "jwt-nbf"),
        ({"sub": 5}, "jwt-sub"),
        ({"sub": ""}, "jwt-sub"),
        ({"sub": "a" * 257}, "jwt-sub"),
        ({"sid": 5}, "jwt-sid"),
        ({"sid": ["room"]}, "jwt-sid"),
        ({"scope": ["admin", 1]}, "jwt-scope"),
        ({"scope": {"admin": True}}, "jwt-scope"),
        ({"iat": NOW_S + 31}, "jwt-future"),
        ({"iat": str(NOW_S)}, "jwt-iat"),
        ({"iat": float("nan")}, "jwt-iat"),
        ({"iat": True}, "jwt-iat"),
        ({"jti": 5}, "jwt-jti"),
        ({"scope": 1}, "jwt-scope"),
    ],
)
def test_a_claim_that_does_not_fit_is_refused_by_its_rule(changes, rule):
    assert refusal(hand_made({"alg": "HS256", "typ": "JWT"}, claims(**changes))) == (INVALID, rule)


@pytest.mark.parametrize("exp", ["NaN", "Infinity", "-Infinity", "1e999", "null", "{}"])
def test_an_exp_that_is_no_number_is_refused(exp):
    token = hand_made({"alg": "HS256"}, f'{{"sub":"alice","exp":{exp}}}')
    assert refusal(token)[0] is INVALID


@pytest.mark.parametrize("nbf", ["NaN", "Infinity", "-Infinity"])
def test_an_nbf_that_is_no_number_is_refused(nbf):
    token = hand_made({"alg": "HS256"}, f'{{"sub":"alice","exp":{NOW_S + 9},"nbf":{nbf}}}')
    assert refusal(token) == (INVALID, "jwt-nbf")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("nan"), float("inf"), True, "1"], ids=lambda value: repr(value)[:9]
)
def test_claims_without_a_signature_are_checked_as_strictly(name, value):
    with pytest.raises(AuthError) as caught:
        check_claims(claims(**{name: value}), NOW_MS)
    assert (caught.value.code, caught.value.rule) == (INVALID, f"jwt-{name}")


def test_a_clock_may_be_30_s_off():
    expired = mint_jwt(SECRET, claims(exp=NOW_S - 29))
    assert verifier.verify(expired, NOW_MS).expires_at_ms == NOW_MS + 1000
    assert refusal(mint_jwt(SECRET, claims(exp=NOW_S - 30))) == (EXPIRED, "jwt-expired")
    assert verifier.verify(mint_jwt(SECRET, claims(nbf=NOW_S + 30, iat=NOW_S + 30)), NOW_MS).user_id == "alice"


def test_who_comes_in_before_the_expiry_gets_no_leeway_on_top():
    assert verifier.verify(mint_jwt(SECRET, claims(exp=NOW_S + 1)), NOW_MS).expires_at_ms == NOW_MS + 1000


def test_a_fractional_exp_counts():
    assert verifier.verify(mint_jwt(SECRET, claims(exp=NOW_S + 1.5)), NOW_MS).expires_at_ms == NOW_MS + 1500


def test_another_key_is_refused():
    assert refusal(mint_jwt(b"x" * 32, claims())) == (INVALID, "jwt-signature")


def test_a_changed_payload_is_refused():
    head, _, signature = mint_jwt(SECRET, claims()).split(".")
    token = f"{head}.{encode(json.dumps(claims(sub='mallory')).encode())}.{signature}"
    assert refusal(token) == (INVALID, "jwt-signature")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS512", "RS256", "XX", None, 5, ["HS256"]])
def test_any_algorithm_but_the_configured_one_is_refused(algorithm):
    assert refusal(hand_made({"alg": algorithm}, claims()))[0] is INVALID


def test_an_unsigned_token_is_refused():
    assert refusal(jwt.encode(claims(), None, algorithm="none")) == (INVALID, "jwt-algorithm")
    head, body, _ = mint_jwt(SECRET, claims()).split(".")
    assert refusal(f"{head}.{body}.") == (INVALID, "jwt-signature")
    assert refusal(f"{head}.{body}") == (INVALID, "jwt-format")


def test_a_crit_header_that_nobody_understands_is_refused():
    assert refusal(hand_made({"alg": "HS256", "crit": ["x"], "x": 1}, claims()))[0] is INVALID


def test_a_token_within_a_token_is_refused():
    inner = mint_jwt(SECRET, claims())
    assert refusal(hand_made({"alg": "HS256", "cty": "JWT"}, inner))[0] is INVALID
    assert refusal(hand_made({"alg": "HS256"}, json.dumps(inner)))[0] is INVALID


def test_audience_and_issuer_are_checked_when_configured():
    strict = JwtVerifier(JwtKey(secret=SECRET), issuer="me", audience="wsctl")
    assert strict.verify(mint_jwt(SECRET, claims(iss="me", aud="wsctl")), NOW_MS).user_id == "alice"
    assert strict.verify(mint_jwt(SECRET, claims(iss="me", aud=["x", "wsctl"])), NOW_MS).user_id == "alice"
    assert refusal(mint_jwt(SECRET, claims(iss="me", aud="other")), strict) == (INVALID, "jwt-audience")
    assert refusal(mint_jwt(SECRET, claims(iss="you", aud="wsctl")), strict) == (INVALID, "jwt-issuer")
    assert refusal(mint_jwt(SECRET, claims(iss="me")), strict) == (INVALID, "jwt-claim-missing")
    assert refusal(mint_jwt(SECRET, claims(aud="wsctl")), strict) == (INVALID, "jwt-claim-missing")


def test_no_repr_shows_the_secret():
    key = JwtKey(secret=SECRET)
    assert SECRET.decode() not in f"{key!r} {JwtVerifier(key)!r} {key}"


def test_claims_can_be_shown_without_a_key():
    header, shown = unverified_claims(mint_jwt(b"x" * 32, claims()))
    assert (header["alg"], shown) == ("HS256", claims())


@pytest.mark.parametrize("token", ["", "a.b.c", "guest_x", "ü", "..", "\ud800.a.b"])
def test_an_unreadable_token_has_no_claims_to_show(token):
    with pytest.raises(AuthError) as caught:
        unverified_claims(token)
    assert caught.value.rule == "jwt-format"


PART = st.binary(max_size=30).map(encode) | st.text(max_size=20)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), st.none() | st.text(max_size=5))
CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "exp", "nbf", "sid", "scope", "iat", "aud"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60)
    | st.builds("{}.{}.{}".format, PART, PART, PART)
    | st.builds(hand_made, HEADERS, CLAIMS)
    | st.builds(hand_made, st.just({"alg": "HS256"}), CLAIMS)
)
def test_any_text_gives_a_principal_or_auth_error(token):
    for by in (verifier, JwtVerifier(JwtKey(secret=SECRET), issuer="me", audience="wsctl")):
        try:
            outcome = by.verify(token, NOW_MS)
        except AuthError as error:
            outcome = error.code
        assert isinstance(outcome, Principal) or outcome in (INVALID, EXPIRED)

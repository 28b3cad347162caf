"""The keys of JWTs: what fits an algorithm, which keys of a JWKS are tried, and what is refused with which words."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from wscore.codes import ErrorCode
from wscore.errors import ConfigError
from wscore.guest import GuestMode, GuestVerifier, mint_guest_token
from wscore.principal import AuthError
from wscore.tokens import JwtKey, JwtVerifier, mint_jwt

NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000
SECRET = b"a secret for tests, 32 bytes or more"
INVALID = ErrorCode.AUTH_INVALID
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
OTHER_NAMES = {"Ed25519": "EdDSA", "EdDSA": "EdDSA"}  # as PyJWT calls it


def claims() -> dict[str, object]:
    return {"sub": "alice", "exp": NOW_S + 3600}


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def hand_made(header: dict[str, object], key: bytes) -> str:
    """Sign with HS256 what no library would."""
    body = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims()).encode())}"
    return f"{body}.{encode(hmac.digest(key, body.encode(), hashlib.sha256))}"


def private_key(algorithm: str, owner: str = "us") -> Any:
    return key_of(algorithm, owner)


@cache
def key_of(algorithm: str, owner: str) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))


def jwk(algorithm: str, owner: str = "us", *, key: Any = None, **members: object) -> dict[str, Any]:
    """Return the public key of somebody as a JWK; a member of None is left out."""
    public = (key or private_key(algorithm, owner)).public_key()
    family = jwt.get_algorithm_by_name(OTHER_NAMES.get(algorithm, algorithm))
    made = {**family.to_jwk(public, as_dict=True), "key_ops": None, **members}
    return {name: value for name, value in made.items() if value is not None}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signed(algorithm: str, owner: str = "us", **header: object) -> str:
    return jwt.encode(claims(), private_key(algorithm, owner), OTHER_NAMES.get(algorithm, algorithm), header)


def signed_as(name: str, private: Any) -> str:
    """Sign with a curve of Edwards under any name of an algorithm."""
    body = f"{encode(json.dumps({'alg': name}).encode())}.{encode(json.dumps(claims()).encode())}"
    return f"{body}.{encode(private.sign(body.encode()))}"


def outcome(token: str, key: JwtKey) -> str:
    """Return the user that a token names, or the rule that refuses it."""
    try:
        return JwtVerifier(key).verify(token, NOW_MS).user_id
    except AuthError as error:
        return error.rule if error.code is INVALID else str(error.code)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "Ed25519"])
def test_a_public_key_verifies_what_its_private_key_signed(algorithm):
    key = JwtKey(algorithm, public_key_pem=public_pem(private_key(algorithm)))
    assert outcome(signed(algorithm), key) == "alice"
    assert outcome(signed(algorithm, "mallory"), key) == "jwt-signature"
    assert outcome(mint_jwt(SECRET, claims()), key) == "jwt-algorithm"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "Ed25519"])
def test_the_public_key_is_no_hmac_secret(algorithm):
    pem = public_pem(private_key(algorithm))
    key = JwtKey(algorithm, public_key_pem=pem)
    for header in ({"alg": "HS256"}, {"alg": algorithm}):
        assert outcome(hand_made(header, pem), key).startswith("jwt-")


@pytest.mark.parametrize("setting", ["EdDSA", "Ed25519"])
def test_the_old_and_the_new_name_of_ed25519_mean_the_same(setting):
    private = private_key("EdDSA")
    for made in (
        JwtKey(setting, public_key_pem=public_pem(private)),
        *(JwtKey(setting, jwks_json=jwks(jwk("EdDSA", alg=alg))) for alg in ("EdDSA", "Ed25519", None)),
    ):
        for name in ("EdDSA", "Ed25519"):
            assert outcome(signed_as(name, private), made) == "alice"


def test_ed25519_names_no_other_curve():
    other = private_key("Ed448")
    key = JwtKey("EdDSA", public_key_pem=public_pem(other))
    assert outcome(jwt.encode(claims(), other, "EdDSA"), key) == "alice"
    assert outcome(signed_as("Ed25519", other), key) == "jwt-algorithm"
    with pytest.raises(ConfigError, match="not a PEM public key for Ed25519"):
        JwtKey("Ed25519", public_key_pem=public_pem(other))


def test_a_jwks_key_is_found_by_kid():
    key = JwtKey("ES256", jwks_json=jwks(jwk("ES256", kid="new"), jwk("ES256", "before", kid="old")))
    assert outcome(signed("ES256", kid="new"), key) == "alice"
    assert outcome(signed("ES256", "before", kid="old"), key) == "alice"
    assert outcome(signed("ES256", kid="old"), key) == "jwt-signature"
    assert outcome(signed("ES256", kid="unknown"), key) == "jwt-key"


def test_a_token_without_kid_is_tried_against_each_key():
    key = JwtKey("ES256", jwks_json=jwks(jwk("ES256", "other", kid="a"), jwk("ES256", kid="b"), jwk("ES256", "third")))
    for owner in ("us", "other", "third"):
        assert outcome(signed("ES256", owner), key) == "alice"
    assert outcome(signed("ES256", "mallory"), key) == "jwt-signature"


@pytest.mark.parametrize("kid", ["same", None])
def test_keys_of_equal_or_absent_kid_serve_beside_each_other(kid):
    key = JwtKey("ES256", jwks_json=jwks(jwk("ES256", kid=kid), jwk("ES256", "other", kid=kid)))
    assert len(key) == 2
    for owner in ("us", "other"):
        assert outcome(signed("ES256", owner, kid="same"), key) == "alice"
        assert outcome(signed("ES256", owner), key) == "alice"
    assert outcome(signed("ES256", "mallory", kid="same"), key) == "jwt-signature"


NO_SIGNING_KEYS = {
    "use enc": {"use": "enc"},
    "use of another kind": {"use": 5},
    "key_ops without verify": {"key_ops": ["encrypt", "wrapKey"]},
    "key_ops of another kind": {"key_ops": 5},
    "another algorithm": {"alg": "RSA-OAEP-256"},
    "another hash": {"alg": "RS512"},
    "another kty": {"kty": "EC"},
    "a modulus that is none": {"n": "!"},
    "a kid that is no text": {"kid": 5},
}


@pytest.mark.parametrize("members", NO_SIGNING_KEYS.values(), ids=NO_SIGNING_KEYS)
def test_a_jwk_that_is_for_something_else_verifies_nothing(members):
    unfit = jwk("RS256", **members)
    with pytest.raises(ConfigError, match="--jwks-file: holds no key for RS256"):
        JwtKey("RS256", jwks_json=jwks(unfit))
    key = JwtKey("RS256", jwks_json=jwks(unfit, jwk("RS256", "other", use="sig", key_ops=["verify"], alg="RS256")))
    assert outcome(signed("RS256"), key) == "jwt-signature"
    assert outcome(signed("RS256", "other"), key) == "alice"


def test_new_keys_take_the_place_of_the_old_ones_unless_they_are_broken():
    key = JwtKey("ES256", jwks_json=jwks(jwk("ES256", kid="a")))
    for broken in (
        b"",
        b"{",
        b'{"keys":[]}',
        b'{"keys":{}}',
        b"[]",
        jwks(jwk("RS256")),
        jwks({"d": "x", **jwk("ES256")}),
    ):
        with pytest.raises(ConfigError):
            key.replace_jwks(broken)
        assert outcome(signed("ES256", kid="a"), key) == "alice"
    key.replace_jwks(jwks(jwk("ES256", "other", kid="b")))
    assert outcome(signed("ES256", kid="a"), key) == "jwt-key"
    assert outcome(signed("ES256", "other", kid="b"), key) == "alice"


def test_files_of_windows_editors_are_read():
    pem = b"\xef\xbb\xbf" + public_pem(private_key("ES256")).replace(b"\n", b"\r\n")
    assert outcome(signed("ES256"), JwtKey("ES256", public_key_pem=pem)) == "alice"
    document = b"\xef\xbb\xbf" + jwks(jwk("ES256")) + b"\r\n"
    assert outcome(signed("ES256"), JwtKey("ES256", jwks_json=document)) == "alice"


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_secret_is_refused_wherever_it_would_sign(length):
    weak = b"k" * length
    for sign in (
        lambda: JwtKey(secret=weak),
        lambda: mint_jwt(weak, claims()),
        lambda: mint_guest_token("0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21", NOW_MS, weak),
        lambda: GuestVerifier(GuestMode.SIGNED, secret=weak),
    ):
        with pytest.raises(ConfigError, match=f"JWT secret: {length} bytes are too short for HS256"):
            sign()


def test_a_secret_of_32_bytes_is_enough():
    secret = b"k" * 32
    assert outcome(mint_jwt(secret, claims()), JwtKey(secret=secret)) == "alice"


def test_a_public_key_is_no_secret():
    for public in (
        public_pem(private_key("RS256")),
        jwks(jwk("RS256")),
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHIDE me",
    ):
        for sign in (JwtKey, lambda secret: mint_jwt(secret, {}), lambda secret: mint_guest_token("x", 1, secret)):
            with pytest.raises(ConfigError, match="a key of another kind"):
                sign(secret=public)


def certificate() -> bytes:
    key, now = private_key("ES256"), datetime.datetime(2026, 1, 1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "HIDE-ME")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


P, J = "public_key_pem", "jwks_json"
UNFIT = {
    "nothing": ("HS256", dict, "JWT secret: none is set"),
    "HS512": ("HS512", lambda: {"secret": SECRET}, "'HS512' is not supported"),
    "none": ("none", lambda: {"secret": SECRET}, "'none' is not supported"),
    "no key": ("RS256", dict, "RS256 needs a key"),
    "a secret alone": ("RS256", lambda: {"secret": SECRET}, "RS256 needs a key"),
    "no PEM": ("RS256", lambda: {P: b"HIDE-ME"}, "not a PEM public key for RS256"),
    "no JWKS": ("ES256", lambda: {J: b"HIDE-ME"}, "not a JWKS document"),
    "an empty JWKS": ("ES256", lambda: {J: b'{"keys":[]}'}, "not a JWKS document"),
    "no UTF-8": ("ES256", lambda: {J: b"\xff"}, "not a JWKS document"),
    "a JWKS nested deeply": ("ES256", lambda: {J: b"[" * 100_000}, "not a JWKS document"),
    "a private key": (
        "ES256",
        lambda: {P: private_pem(private_key("ES256"))},
        "is a private key.*openssl pkey -in FILE",
    ),
    "a private JWK": ("ES256", lambda: {J: jwks({**jwk("ES256"), "d": "HIDE-ME"})}, "holds a private key"),
    "a certificate": ("ES256", lambda: {P: certificate()}, "is a certificate; .*openssl x509 -in FILE -pubkey -noout"),
    "two keys": ("ES256", lambda: {P: public_pem(private_key("ES256")) * 2}, "holds 2 keys"),
    "another key": ("RS256", lambda: {P: public_pem(private_key("ES256"))}, "not a PEM public key for RS256"),
    "another JWK": ("ES256", lambda: {J: jwks(jwk("EdDSA"))}, "holds no key for ES256"),
    "PEM and JWKS": ("ES256", lambda: {P: b"x", J: b"x"}, "--jwks-file: --jwt-public-key is given too"),
    "no algorithm": (
        None,
        lambda: {P: public_pem(private_key("ES256"))},
        "--jwt-algorithm: is not given, and --jwt-pub",
    ),
    "a secret beside a key": (None, lambda: {"secret": SECRET, P: b"x"}, "the secret would verify JWTs in its place"),
    "a secret beside a JWKS": (None, lambda: {"secret": SECRET, J: b"x"}, "the secret would verify JWTs in its place"),
    "a key for HS256": (
        "HS256",
        lambda: {"secret": SECRET, P: b"x"},
        "--jwt-public-key: HS256 verifies with the secret",
    ),
    "a short RSA key": (
        "RS256",
        lambda: {P: public_pem(weak_rsa())},
        "--jwt-public-key: The RSA key is 1024 bits long",
    ),
    "a short RSA JWK": (
        "RS256",
        lambda: {J: jwks(jwk("RS256", key=weak_rsa()))},
        "--jwks-file: The RSA key is 1024 bits",
    ),
}


@cache
def weak_rsa() -> Any:
    return rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(("algorithm", "make", "problem"), UNFIT.values(), ids=UNFIT)
def test_a_key_that_does_not_fit_is_refused_without_showing_it(algorithm, make, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        JwtKey(algorithm, **make())
    assert "HIDE-ME" not in f"{caught.value} {caught.value!r}"

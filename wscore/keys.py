"""The keys that sign and verify JWTs; the only file that knows PyJWT (RFC 7515, 7517, 7518, 8037 and 9864)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt import PyJWS
from jwt.algorithms import Algorithm, HMACAlgorithm, OKPAlgorithm
from jwt.exceptions import InvalidAlgorithmError, InvalidKeyError, InvalidSignatureError

from wscore.codes import ErrorCode
from wscore.errors import ConfigError
from wscore.principal import AuthError
from wscore.secrets import checked_secret

# What a setting accepts in the header of a token and in a JWK: Ed25519 is the newer name of what EdDSA mostly is.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "HS256": ("HS256",),
    "RS256": ("RS256",),
    "ES256": ("ES256",),
    "EdDSA": ("EdDSA", "Ed25519"),
    "Ed25519": ("EdDSA", "Ed25519"),
}
ALGORITHMS: Final = tuple(_NAMES)
UNKNOWN_KEY: Final = "jwt-key"  # the rule by which a token is refused whose key is not among ours

# Unpadded base64url and nothing else (RFC 7515 section 7.1): decoders of base64 let padding and more pass.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_PEM_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_RULES: Final[Mapping[type[Exception], tuple[str, str]]] = {
    InvalidSignatureError: ("jwt-signature", "The token's signature does not match."),
    InvalidAlgorithmError: ("jwt-algorithm", "The token's algorithm is not the configured one."),
    InvalidKeyError: ("jwt-algorithm", "The token's algorithm is not that of its key."),
}


class _ReadySecret(HMACAlgorithm):
    """HMAC whose key was checked when it was configured: to look for PEM in it with each token is half its price."""

    def prepare_key(self, key: Any) -> Any:
        return key


class _Ed25519(OKPAlgorithm):
    """EdDSA with no other curve than its name says (RFC 9864)."""

    def prepare_key(self, key: Any) -> Any:
        prepared = super().prepare_key(key)
        if not isinstance(prepared, Ed25519PublicKey):
            raise InvalidKeyError("not Ed25519")
        return prepared


_JWS: Final = PyJWS(["RS256", "ES256", "EdDSA"], {"verify_signature": True, "enforce_minimum_key_length": True})
_JWS.register_algorithm("HS256", _ReadySecret(HMACAlgorithm.SHA256))
_JWS.register_algorithm("Ed25519", _Ed25519())


class JwtKey:
    """The one algorithm that is accepted and the key or keys that go with it.

    Keys: an HS256 secret of at least 32 bytes, a PEM public key, or a JWKS document. Without `algorithm` it is HS256,
    unless there is a public key. Raises ConfigError for what does not fit; neither its text nor this object's repr
    shows a key.
    """

    __slots__ = ("_all", "_by_kid", "_names", "algorithm")

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        secret: bytes | None = None,
        public_key_pem: bytes | None = None,
        jwks_json: bytes | None = None,
    ) -> None:
        self.algorithm = _chosen(algorithm, secret, public_key_pem, jwks_json)
        self._names = _NAMES[self.algorithm]
        self._by_kid: dict[str | None, tuple[Any, ...]] | None = None  # of a JWKS; any other key serves every kid
        self._all: tuple[Any, ...] = ()
        if self.algorithm == "HS256":
            self._all = (_secret_key(secret),)
        elif jwks_json is not None:
            self.replace_jwks(jwks_json)
        elif public_key_pem is not None:
            self._all = (_read_pem(public_key_pem, self.algorithm),)

    def __len__(self) -> int:
        return len(self._all)

    def replace_jwks(self, document: bytes) -> None:
        """Take the keys of a new JWKS document; raises ConfigError, which leaves the old ones."""
        self._by_kid = _read_jwks(document, self.algorithm)
        self._all = tuple(key for keys in self._by_kid.values() for key in keys)

    def payload(self, token: str) -> bytes:
        """Return the payload of a token that one of the keys signed.

        Raises AuthError with AUTH_INVALID; no other exception escapes for any input.
        """
        if not _COMPACT.fullmatch(token):
            raise _malformed()
        try:
            if self._by_kid is None:
                return self._open(token, self._all[0])
            *others, last = self._candidates(token)
            for key in others:
                try:
                    return self._open(token, key)
                except (InvalidSignatureError, InvalidKeyError):
                    continue
            return self._open(token, last)
        except AuthError:
            raise
        except Exception as error:  # any text may come in: whatever PyJWT raises means the token is no good
            rule, reason = _RULES.get(type(error), ("jwt-format", "The token is not a valid JWT."))
            raise AuthError(ErrorCode.AUTH_INVALID, reason, rule) from None

    def _open(self, token: str, key: Any) -> bytes:
        payload: bytes = _JWS.decode_complete(token, key, self._names)["payload"]
        return payload

    def _candidates(self, token: str) -> tuple[Any, ...]:
        """Return the keys of a JWKS that may have signed it: those of its `kid`, and a key without one serves all."""
        assert self._by_kid is not None
        head = token.partition(".")[0]
        kid = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))).get("kid")
        keys = self._all if kid is None else self._by_kid.get(kid) or self._by_kid.get(None, ())
        if not keys:
            raise AuthError(ErrorCode.AUTH_INVALID, "The token's key is not among the configured ones.", UNKNOWN_KEY)
        return keys


def mint_jwt(secret: bytes, claims: Mapping[str, object]) -> str:
    """Sign `claims` with HS256; raises ConfigError for an unfit secret, TypeError for claims that are no JSON."""
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return _JWS.encode(payload, _secret_key(secret), "HS256")


def unverified_claims(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims without checking anything, for display only; raises AuthError if unreadable."""
    try:
        read = _JWS.decode_complete(token, options={"verify_signature": False})
        claims = json.loads(read["payload"])
        json.dumps(claims)
    except Exception:
        raise _malformed() from None
    if not isinstance(claims, dict):
        raise _malformed()
    return read["header"], claims


def _malformed() -> AuthError:
    return AuthError(ErrorCode.AUTH_INVALID, "The token is not a valid JWT.", "jwt-format")


def _chosen(algorithm: str | None, secret: bytes | None, pem: bytes | None, jwks: bytes | None) -> str:
    """Return the algorithm, which nothing but a secret alone implies; raises ConfigError."""
    if algorithm is not None and algorithm not in _NAMES:
        raise ConfigError("--jwt-algorithm", f"{algorithm!r} is not supported", f"use one of {', '.join(ALGORITHMS)}")
    if pem is not None and jwks is not None:
        raise ConfigError("--jwks-file", "--jwt-public-key is given too", "put every key into the JWKS")
    public = "--jwt-public-key" if pem is not None else "--jwks-file" if jwks is not None else None
    mend = f"say what the key is for: --jwt-algorithm {', '.join(ALGORITHMS[1:-1])} or {ALGORITHMS[-1]}"
    if algorithm is None and public is not None:
        meant = "; the secret would verify JWTs in its place" if secret is not None else ""
        raise ConfigError("--jwt-algorithm", f"is not given, and {public} is{meant}", mend)
    if algorithm == "HS256" and public is not None:
        raise ConfigError(public, "HS256 verifies with the secret and would not look at it", mend)
    if algorithm not in (None, "HS256") and public is None:
        raise ConfigError("--jwt-algorithm", f"{algorithm} needs a key", "give --jwt-public-key or --jwks-file")
    return algorithm or "HS256"


def _secret_key(secret: bytes | None) -> bytes:
    checked = checked_secret(secret)
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(checked)
    except InvalidKeyError:
        raise ConfigError("JWT secret", "is a key of another kind, such as PEM or JWK") from None
    return checked


def _read_pem(pem: bytes, algorithm: str) -> Any:
    labels = _PEM_LABEL.findall(pem)
    option, problem = "--jwt-public-key", f"not a PEM public key for {algorithm}"
    if any(label.endswith(b"PRIVATE KEY") for label in labels):
        mend = "extract the public one: openssl pkey -in FILE -pubout"
        raise ConfigError(option, "is a private key, which has no place on a server that verifies", mend)
    if any(label.endswith(b"CERTIFICATE") for label in labels):
        raise ConfigError(option, "is a certificate", "extract its public key: openssl x509 -in FILE -pubkey -noout")
    if len(labels) > 1:
        raise ConfigError(option, f"holds {len(labels)} keys", "give several keys as a JWKS, with --jwks-file")
    checker = _JWS.get_algorithm_by_name(algorithm)
    try:
        key = checker.prepare_key(pem)
    except Exception:
        raise ConfigError(option, problem) from None
    _check_length(option, checker.check_key_length(key))
    return key


def _read_jwks(document: bytes, algorithm: str) -> dict[str | None, tuple[Any, ...]]:
    """Return the keys by `kid`; those that verify nothing with this algorithm are passed by (RFC 7517 section 5)."""
    option = "--jwks-file"
    try:
        listed = json.loads(document.decode("utf-8-sig"))["keys"]
        jwks = [key for key in listed if isinstance(key, dict)]
    except Exception:
        raise ConfigError(option, "not a JWKS document with usable keys") from None
    checker = _JWS.get_algorithm_by_name(algorithm)
    found: dict[str | None, tuple[Any, ...]] = {}
    for jwk in jwks:
        if "d" in jwk and jwk.get("kty") != "oct":
            raise ConfigError(option, "holds a private key", "keep it elsewhere, and give its public part here")
        key = _verification_key(jwk, algorithm, checker)
        if key is None:
            continue
        _check_length(option, checker.check_key_length(key))
        kid = jwk.get("kid")
        found[kid] = (*found.get(kid, ()), key)
    if not found:
        problem = f"holds no key for {algorithm}" if jwks else "not a JWKS document with usable keys"
        raise ConfigError(option, problem)
    return found


def _verification_key(jwk: dict[str, Any], algorithm: str, checker: Algorithm) -> Any:
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) not in _NAMES[algorithm]:
        return None
    if not isinstance(jwk.get("kid"), str | None):
        return None
    try:
        if "verify" not in jwk.get("key_ops", ["verify"]):
            return None
        return checker.prepare_key(checker.from_jwk(jwk))
    except Exception:  # a key of another kind or curve, or one that is broken
        return None


def _check_length(option: str, problem: str | None) -> None:
    # A short key would be refused with each token; who starts the server should hear of it first.
    if problem is not None:
        raise ConfigError(option, problem.rstrip("."))

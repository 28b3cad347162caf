"""Secrets and tokens as they come in: how they are written, and which are fit to sign with or to be sent."""

from __future__ import annotations

import base64
import re
from enum import StrEnum
from typing import Final

from wscore.errors import ConfigError

MIN_SECRET_BYTES: Final = 32  # RFC 7518 section 3.2

_SECRET: Final = "JWT secret"
_MEND: Final = "put one into WSCTL_JWT_SECRET, or: openssl rand -hex 32 > jwt.secret, then --jwt-secret-file jwt.secret"
_BOM: Final = "\ufeff".encode()
# PEM, OpenSSH and JWK: public keys are known to everybody, and private ones sign in another way.
_ASYMMETRIC: Final = re.compile(rb"\s*(?:-----BEGIN |(?:ssh|ecdsa)-[\w-]+ |\{.*\"kty\")", re.DOTALL)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BLANKS: Final = re.compile(rb"[ \t\r\n]")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]+={0,2}")


class SecretEncoding(StrEnum):
    """How a secret is written: its text is the secret, it encodes the secret's bytes, or it is those bytes."""

    TEXT = "text"
    BASE64 = "base64"
    BASE64URL = "base64url"
    HEX = "hex"
    RAW = "raw"


def decode_secret(written: bytes, encoding: SecretEncoding, source: str) -> bytes:
    """Return the secret that `source`, an option or a variable, holds; raises ConfigError, which shows none of it.

    A byte order mark at the beginning and line breaks at the end do not count, since editors add them; what else
    would make two programs read two different secrets is refused. `raw` takes every byte as it is.
    """
    raw = encoding is SecretEncoding.RAW
    kept = written if raw else written.removeprefix(_BOM).rstrip(b"\r\n")
    if not kept:
        raise ConfigError(source, "is empty", _MEND)
    if raw:
        return kept
    if encoding is SecretEncoding.TEXT:
        _check_text(kept, source)
        return kept
    digits = _BLANKS.sub(b"", kept)
    try:
        return _decode(digits, encoding)
    except ValueError:
        raise ConfigError(
            source, f"is not {encoding}", "--jwt-secret-encoding says how the secret is written"
        ) from None


def _check_text(secret: bytes, source: str) -> None:
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        mend = "write it as base64 and set --jwt-secret-encoding base64, or raw to take its bytes as they are"
        raise ConfigError(source, "is not text in UTF-8", mend) from None
    if _CONTROL.search(text):
        raise ConfigError(source, "has a line break or a control character in it", "write the secret as one line")
    if text != text.strip():
        raise ConfigError(source, "begins or ends with a space", "take the space away")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise ConfigError(source, "is in quotes", "take the quotes away, which are no part of the secret")


def _decode(digits: bytes, encoding: SecretEncoding) -> bytes:
    if encoding is SecretEncoding.HEX:
        return bytes.fromhex(digits.decode("ascii"))
    form, altchars = (_BASE64, b"+/") if encoding is SecretEncoding.BASE64 else (_BASE64URL, b"-_")
    if digits and not form.fullmatch(digits):  # decoders of base64 let characters of no alphabet pass
        raise ValueError
    unpadded = digits.rstrip(b"=")
    return base64.b64decode(unpadded + b"=" * (-len(unpadded) % 4), altchars, validate=True)


def checked_secret(secret: bytes | None) -> bytes:
    """Return `secret` if it is fit to sign with, else raise ConfigError; whatever signs or verifies comes by here."""
    if secret is None:
        raise ConfigError(_SECRET, "none is set", _MEND)
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(_SECRET, f"{len(secret)} bytes are too short for HS256, {MIN_SECRET_BYTES} are enough", _MEND)
    if _ASYMMETRIC.match(secret):
        raise ConfigError(_SECRET, "is a key of another kind, such as PEM or JWK", _MEND)
    return secret


def checked_token(token: str, source: str = "token") -> str:
    """Return `token` if a URL and a header can carry it, else raise ConfigError, which shows none of it."""
    if not token:
        raise ConfigError(source, "is empty", "leave it out to connect as a guest")
    if not token.isascii() or not token.isprintable():
        raise ConfigError(source, "holds what no token does: a control character, or one beyond ASCII")
    return token

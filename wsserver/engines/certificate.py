"""The server's certificate and its key: loaded, or refused with the file that is wrong and what to do about it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError

_CERT: Final = "--tls-cert"
_KEY: Final = "--tls-key"


class _EncryptedError(Exception):
    """The key asks for a passphrase."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a server does TLS with; raises ConfigError for files that are no certificate with its key."""
    _check(_CERT, certificate, b"CERTIFICATE-----", "certificate")
    _check(_KEY, key, b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a callback OpenSSL would ask at the terminal, and hold the whole process up until it is answered.
        context.load_cert_chain(certificate, key, password=_refuse)
    except _EncryptedError:
        mend = f"decrypt it: openssl pkey -in {key} -out decrypted.pem"
        raise ConfigError(_KEY, f"{key} is encrypted, and nobody is asked for its passphrase", mend) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            mend = "the first certificate of a chain is the one that counts"
            raise ConfigError(_KEY, f"{key} is not the key of the certificate in {certificate}", mend) from None
        raise ConfigError(_CERT, f"cannot be loaded with its key: {error.reason or 'damaged'}") from None
    return context


def _check(option: str, file: Path, mark: bytes, what: str) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(option, f"{file}: {error.strerror}") from None
    if mark not in content:
        raise ConfigError(option, f"{file} holds no {what}", "give a PEM file")


def _refuse() -> str:
    raise _EncryptedError

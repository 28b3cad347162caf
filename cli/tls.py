"""The TLS context of a client: whom it trusts, and the certificate that it shows."""

from __future__ import annotations

import ssl
from pathlib import Path

from wscore.errors import ConfigError


class _EncryptedError(Exception):
    """The key needs a passphrase, which nobody is asked for."""


def tls_context(
    ca: Path | None, insecure: bool, cert: Path | None = None, key: Path | None = None
) -> ssl.SSLContext | None:
    """Return whom to trust and what to show, None for the CAs of this machine and no certificate.

    Raises ConfigError for a file that does not say it.
    """
    if ca is None and cert is None and not insecure:
        return None
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError:
        raise ConfigError("--ca", f"{ca} holds no certificates", "give a PEM file") from None
    except OSError as error:
        raise ConfigError("--ca", f"{ca}: {error.strerror or error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        _show(context, cert, key)
    return context


def _show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Load the client's certificate; raises ConfigError, which names the file that is at fault."""

    def refuse() -> str:
        raise _EncryptedError

    for option, file in (("--cert", cert), ("--key", key)):
        if file is not None and not file.is_file():
            raise ConfigError(option, f"{file}: there is no such file")
    try:
        context.load_cert_chain(cert, key, password=refuse)
    except _EncryptedError:
        raise ConfigError("--key", f"{key or cert} is encrypted", "give the key without a passphrase") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError("--key", f"{key or cert} belongs to another certificate than {cert}") from None
        mend = "" if key is not None else "give the key by --key, or in the same file"
        raise ConfigError("--cert", f"{cert} holds no certificate in PEM, or its key is none", mend) from None
    except OSError as error:
        raise ConfigError("--cert", f"{cert}: {error.strerror or error}") from None

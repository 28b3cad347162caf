"""Whose certificates a connection trusts: those that the system does, or a file that SSL_CERT_FILE names."""

from __future__ import annotations

import os
import ssl
from typing import Final

from wscore.errors import ConfigError

VARIABLE: Final = "SSL_CERT_FILE"


def trusting_context() -> ssl.SSLContext:
    """Return a context for a client; raises ConfigError where the variable names no file of certificates.

    OpenSSL says nothing of that, and every certificate would be called one that is not to be trusted.
    """
    context = ssl.create_default_context()
    if file := os.environ.get(VARIABLE):
        try:
            context.load_verify_locations(cafile=file)
        except ssl.SSLError:
            raise ConfigError(VARIABLE, f"{file} holds no certificates", "name a PEM file, or unset it") from None
        except OSError as error:
            raise ConfigError(VARIABLE, f"{file}: {error.strerror or error}", "name a PEM file, or unset it") from None
    return context

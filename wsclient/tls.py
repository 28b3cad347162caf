"""Why TLS failed, with the option that helps, and whether a port speaks the other of ws:// and wss://."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from wscore.text import neutralise

PROBE_TIMEOUT_S: Final = 2.0

_TRUST: Final = "trust the CA's certificate with --ca FILE, or skip the check with --insecure"
_UNKNOWN: Final = "no CA that is trusted here signed the certificate, or the server leaves out those in between"
_OTHER_HOST: Final = "the certificate is not for {host}"
_USE_ITS_NAME: Final = "connect by a name that it is for, or skip the check with --insecure"
# By OpenSSL's number (X509_V_ERR_...): what is wrong, and what to do about it.
_CERTIFICATE: Final = {
    2: (_UNKNOWN, _TRUST),
    9: ("the certificate is not valid yet", "look at this machine's clock, or skip the check with --insecure"),
    10: ("the certificate has expired", "renew it on the server, or skip the check with --insecure"),
    18: ("the certificate is self-signed", "trust it with --ca FILE, or skip the check with --insecure"),
    19: ("the certificate is signed by a CA that is not trusted here", _TRUST),
    20: (_UNKNOWN, _TRUST),
    21: (_UNKNOWN, _TRUST),
    62: (_OTHER_HOST, _USE_ITS_NAME),
    64: (_OTHER_HOST, _USE_ITS_NAME),
}

# By words of OpenSSL's reason for an alert of the server, and what it fails by before any certificate.
_REFUSED: Final = "the server does not accept the client certificate; give one that its CA signed by --cert and --key"
_ALERTS: Final = {
    "ALERT_CERTIFICATE_REQUIRED": "the server asks for a client certificate; give it by --cert and --key",
    "ALERT_UNKNOWN_CA": _REFUSED,
    "ALERT_BAD_CERTIFICATE": _REFUSED,
    "ALERT_CERTIFICATE_UNKNOWN": _REFUSED,
    "ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired; give another one by --cert and --key",
    "ALERT_HANDSHAKE_FAILURE": "the server may ask for a client certificate (--cert and --key), or share no cipher",
    "ALERT_PROTOCOL_VERSION": "the server speaks no version of TLS that is allowed here",
    "UNSUPPORTED_PROTOCOL": "the server speaks no version of TLS that is allowed here",
}


def tls_problem(error: ssl.SSLError, url: str) -> str:
    """Return what a failed TLS handshake with `url` means, in words."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = error.reason or "failed"
        mend = next((mend for words, mend in _ALERTS.items() if words in reason), None)
        return f"TLS: {reason}" if mend is None else f"TLS: {reason}: {mend}"
    problem, mend = _CERTIFICATE.get(error.verify_code, (error.verify_message.rstrip("."), _TRUST))
    return neutralise(f"TLS: {error.reason}: {problem.format(host=urlsplit(url).hostname)}; {mend}")


async def wrong_scheme(url: str) -> str | None:
    """Return that `url` should be the other of ws:// and wss://, None if its port does not speak that."""
    host, port = _place(url)
    if url.startswith("wss:"):
        return "this port speaks no TLS; did you mean ws://?" if await _speaks_plain_http(host, port) else None
    speaks_tls = not isinstance(await _handshake(host, port, _unchecked()), OSError)
    return "this port speaks TLS; did you mean wss://?" if speaks_tls else None


async def peer_certificate(url: str) -> bytes | None:
    """Return the certificate, in DER, that a server shows whom nobody trusts yet; None if it shows none."""
    shown = await _handshake(*_place(url), _unchecked())
    return None if isinstance(shown, OSError) else shown


async def tls_obstacle(url: str, context: ssl.SSLContext | None) -> str | None:
    """Return why no TLS connection to `url` comes about, None when TLS is not what is in the way.

    `context` says whom to trust, None the CAs of this machine.
    """
    if not url.startswith("wss:"):
        return await wrong_scheme(url)
    error = await _handshake(*_place(url), context or ssl.create_default_context())
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls_problem(error, url)
    is_other = isinstance(error, OSError) and not isinstance(error, ConnectionRefusedError)
    problem = await wrong_scheme(url) if is_other else None
    return problem or (tls_problem(error, url) if isinstance(error, ssl.SSLError) else None)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _handshake(host: str, port: int, context: ssl.SSLContext) -> OSError | bytes | None:
    """Return why a TLS handshake fails, else the server's certificate."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except OSError as error:  # of TLS, of the network, or out of time
        return error
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    return certificate


async def _speaks_plain_http(host: str, port: int) -> bool:
    with suppress(OSError, asyncio.IncompleteReadError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                name = f"[{host}]" if ":" in host else host
                writer.write(f"GET / HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
                return await reader.readexactly(5) == b"HTTP/"
            finally:
                writer.transport.abort()
    return False

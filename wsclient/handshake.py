"""A handshake in the open: what was asked, what was answered and what TLS agreed on, with every secret left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Final

from msgspec import Struct

from wscore.text import REDACTED, neutralise, redact
from wscore.units import format_figure

REDIRECTED: Final = "redirected"
MAX_BODY_CHARS: Final = 4096  # of a refusal: what a person reads, not a whole page

# A header of any of these names is a secret, whoever sends it; the handshake's own key and answer are none.
_SECRET_NAME: Final = re.compile(r"(?i)auth|token|secret|passw|session|credential|signature|key")
_HARMLESS: Final = frozenset({"sec-websocket-key", "www-authenticate", "proxy-authenticate"})
_SCHEME: Final = re.compile(r"(?i)(basic|bearer|digest|negotiate)\b")


class LineMark(StrEnum):
    """What a line of a handshake tells of, as curl marks it."""

    FACT = "*"
    REQUEST = ">"
    RESPONSE = "<"


class TlsFacts(Struct, frozen=True):
    """What TLS agreed on, and the server's certificate in DER; None of what is not known."""

    version: str | None
    cipher: str | None
    certificate: bytes | None


class Handshake(Struct, frozen=True):
    """One try to open a WebSocket, up to the answer or to what went wrong; nothing in it is secret.

    `status` is None if no HTTP answer came, `problem` None if a WebSocket came about; `took_ms` is since the dialling.
    """

    url: str
    took_ms: float
    problem: str | None = None
    proxy: str | None = None
    request_line: str = ""
    request_headers: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    reason: str = ""
    response_headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    subprotocol: str | None = None
    extensions: tuple[str, ...] = ()
    tls: TlsFacts | None = None

    @property
    def is_redirected(self) -> bool:
        """Whether the server sent us elsewhere, so that another handshake follows."""
        return self.problem == REDIRECTED

    def lines(self) -> Iterator[tuple[LineMark, str]]:
        """Yield it line by line, each without control characters."""
        for mark, text in self._lines():
            yield mark, neutralise(text)

    def _lines(self) -> Iterator[tuple[LineMark, str]]:
        yield (
            LineMark.FACT,
            f"connecting to {self.url}" + ("" if self.proxy is None else f" through the proxy {self.proxy}"),
        )
        if self.tls is not None:
            yield from ((LineMark.FACT, line) for line in tls_lines(self.tls))
        if self.request_line:
            yield LineMark.REQUEST, self.request_line
            yield from ((LineMark.REQUEST, f"{name}: {value}") for name, value in self.request_headers)
        if self.status is not None:
            yield LineMark.RESPONSE, f"HTTP/1.1 {self.status} {self.reason}".rstrip()
            yield from ((LineMark.RESPONSE, f"{name}: {value}") for name, value in self.response_headers)
        if self.body:
            yield LineMark.RESPONSE, ""
            yield from ((LineMark.RESPONSE, line) for line in self.body.splitlines())
        if self.problem is None:
            yield LineMark.FACT, f"open after {format_figure(round(self.took_ms, 1))} ms"
            yield LineMark.FACT, f"subprotocol: {self.subprotocol or 'none'}"
            yield LineMark.FACT, f"extensions: {', '.join(self.extensions) or 'none'}"
        else:
            yield LineMark.FACT, f"failed after {format_figure(round(self.took_ms, 1))} ms: {self.problem}"


def tls_lines(tls: TlsFacts) -> Iterator[str]:
    """Yield what TLS agreed on, and of the certificate its subject, issuer and validity."""
    if tls.version is not None:
        yield f"TLS: {tls.version}" + ("" if tls.cipher is None else f", {tls.cipher}")
    if tls.certificate is None:
        return
    from cryptography import x509  # takes a while to load, and is needed by whoever looks

    with suppress(ValueError):  # stricter than OpenSSL, which took it
        certificate = x509.load_der_x509_certificate(tls.certificate)
        yield f"certificate subject: {certificate.subject.rfc4514_string()}"
        with suppress(x509.ExtensionNotFound):
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            shown = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
            yield f"certificate for: {', '.join(shown)}"
        yield f"certificate issuer: {certificate.issuer.rfc4514_string()}"
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        yield f"certificate valid: {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def shown_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return headers as they may be shown: the names of cookies without their values, schemes without credentials."""
    return tuple((name, _shown(name.lower(), value)) for name, value in headers)


def shown_body(body: bytes) -> str:
    """Return the start of a body as text that may be shown, line by line."""
    text = body[: 4 * MAX_BODY_CHARS].decode(errors="replace")
    lines = [neutralise(redact(line)) for line in text.splitlines()]
    shown = "\n".join(lines).strip()
    return shown if len(shown) <= MAX_BODY_CHARS else f"{shown[:MAX_BODY_CHARS]}… ({len(body):,} bytes)"


def _shown(name: str, value: str) -> str:
    if name == "cookie":
        return "; ".join(_without_value(pair) for pair in value.split(";"))
    if name == "set-cookie":
        pair, *attributes = value.split(";")
        return ";".join([_without_value(pair), *attributes])
    if name == "sec-websocket-protocol":
        items = (item.strip() for item in value.split(","))
        return ", ".join(f"token.{REDACTED}" if item.startswith("token.") else redact(item) for item in items)
    if name not in _HARMLESS and _SECRET_NAME.search(name):
        scheme = _SCHEME.match(value)
        return REDACTED if scheme is None else f"{scheme[0]} {REDACTED}"
    return redact(value)


def _without_value(pair: str) -> str:
    name, separator, _ = pair.strip().partition("=")
    return f"{name}={REDACTED}" if separator else REDACTED

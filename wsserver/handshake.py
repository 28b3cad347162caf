"""The HTTP request that opens a connection, as both engines present it, and the plain HTTP answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

MAX_HEADER_LINE_BYTES: Final = 8192
MAX_HEADERS: Final = 128
MAX_QUERY_FIELDS: Final = 32
SUBPROTOCOL: Final = "wsctl.v1"
HEALTH_PATH: Final = "/healthz"

_TOKEN_SUBPROTOCOL = "token."


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer that is not an upgrade; the connection closes after it."""

    status: HTTPStatus
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class HandshakeRequest:
    """One parsed GET request. Its repr shows the path only, since the query carries the token.

    `client_ip` (None: a Unix socket), `forwarded_host` and `is_secure` are what `Proxies` finds out about it.
    """

    __slots__ = ("_headers", "_query", "client_ip", "forwarded_host", "is_secure", "path")

    def __init__(self, target: str, headers: Iterable[tuple[str, str]]) -> None:
        """Split a request target and its headers; raises ValueError for a query of too many fields."""
        path, _, query = target.partition("?")
        self.path = unquote(path)
        self._query = dict(reversed(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)))
        self._headers = [(name.lower(), value) for name, value in headers]
        self.client_ip: str | None = None
        self.forwarded_host: str | None = None
        self.is_secure = False

    def __repr__(self) -> str:
        return f"HandshakeRequest({self.path!r})"

    def query(self, name: str) -> str | None:
        """Return the first value of a query field."""
        return self._query.get(name)

    def header_values(self, name: str) -> list[str]:
        """Return every value of a header, in order; `name` in lower case."""
        return [value for key, value in self._headers if key == name]

    def header(self, name: str) -> str | None:
        """Return the first value of a header; `name` in lower case."""
        return next(iter(self.header_values(name)), None)

    def first_header_of(self, names: frozenset[str]) -> str | None:
        """Return the name of the first header that is one of `names`, which are in lower case."""
        return next((key for key, _ in self._headers if key in names), None)

    def header_items(self, name: str) -> list[str]:
        """Return the comma-separated items of a header over all its lines."""
        return [item.strip() for value in self.header_values(name) for item in value.split(",") if item.strip()]

    @property
    def host(self) -> str:
        """The host that the client asked for, as a trusted proxy or else the only Host header says; else empty."""
        if self.forwarded_host is not None:
            return self.forwarded_host
        hosts = self.header_values("host")
        return hosts[0] if len(hosts) == 1 else ""

    @property
    def is_oversized(self) -> bool:
        """Whether a header line, or the number of lines, is beyond what a client has reason to send."""
        longest = max((len(name) + len(value) for name, value in self._headers), default=0)
        return longest > MAX_HEADER_LINE_BYTES or len(self._headers) > MAX_HEADERS

    @property
    def wants_upgrade(self) -> bool:
        """Whether this asks for a WebSocket (RFC 6455 section 4.2.1); proxies add items to Connection."""
        connection = (item.lower() for item in self.header_items("connection"))
        return "upgrade" in connection and (self.header("upgrade") or "").lower() == "websocket"

    @property
    def offers_subprotocol(self) -> bool:
        """Whether the client offered `wsctl.v1`, which the server then echoes."""
        return SUBPROTOCOL in self.header_items("sec-websocket-protocol")

    def subprotocol_token(self) -> str | None:
        """Return the token of a `token.<base64url>` subprotocol; one that does not decode counts as empty."""
        for item in self.header_items("sec-websocket-protocol"):
            if item.startswith(_TOKEN_SUBPROTOCOL):
                encoded = item.removeprefix(_TOKEN_SUBPROTOCOL)
                try:
                    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
                except (binascii.Error, ValueError):
                    return ""
        return None

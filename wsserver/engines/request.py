"""The HTTP request that opens a connection, as both engines present it, and the plain HTTP answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

from wsserver.engines.networks import UNIX

MAX_QUERY_FIELDS: Final = 32
SUBPROTOCOL: Final = "wsctl.v1"
HEALTH_PATH: Final = "/healthz"

TEXT: Final = "text/plain; charset=utf-8"

_MAX_SHOWN: Final = 64  # characters
_TOKEN_SUBPROTOCOL = "token."
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer that is not an upgrade; the connection closes after it."""

    status: HTTPStatus
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = TEXT

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        """Return the whole answer, without its body for HEAD (RFC 9110 section 9.3.2)."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status is not HTTPStatus.NO_CONTENT:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        head = "\r\n".join((*lines, "Connection: close", "", "")).encode("latin-1")
        return head + self.body if with_body else head


class HandshakeRequest:
    """One parsed request. Its repr shows the path only, since the query carries the token.

    `client_ip` (None: a Unix socket), `forwarded_host` and `is_secure` are what `Proxies` finds out about it.
    """

    __slots__ = ("_headers", "_may_upgrade", "_query", "client_ip", "forwarded_host", "is_secure", "method", "path")

    def __init__(
        self, target: str, headers: Iterable[tuple[str, str]], *, method: str = "GET", may_upgrade: bool = True
    ) -> None:
        """Split a request target and its headers; raises ValueError for a query of too many fields.

        One by HTTP/1.0 may not be upgraded (RFC 9110 section 7.8).
        """
        self.method = method
        self._may_upgrade = may_upgrade and method == "GET"
        path, _, query = target.partition("?")
        self.path = unquote(path)
        self._query = dict(reversed(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)))
        self._headers: dict[str, list[str]] = {}
        for name, value in headers:
            self._headers.setdefault(name.lower(), []).append(value.rstrip(" \t"))
        self.client_ip: str | None = None
        self.forwarded_host: str | None = None
        self.is_secure = False

    def __repr__(self) -> str:
        return f"HandshakeRequest({self.path!r})"

    @property
    def shown_path(self) -> str:
        """The path for a log: its first segment, since whoever puts a token into the path puts it behind that."""
        first, slash, rest = self.path[1:].partition("/")
        return f"{self.path[:1]}{first[:_MAX_SHOWN]}{slash}{'…' if rest else ''}"

    def query(self, name: str) -> str | None:
        """Return the first value of a query field."""
        return self._query.get(name)

    @property
    def query_fields(self) -> Mapping[str, str]:
        """The fields of the query, of each the first value; the token may be among them."""
        return self._query

    @property
    def headers(self) -> Mapping[str, Sequence[str]]:
        """Every header by its name in lower case; the token may be among them."""
        return self._headers

    def header_values(self, name: str) -> list[str]:
        """Return every value of a header, in order; `name` in lower case."""
        return self._headers.get(name, [])

    def header(self, name: str) -> str | None:
        """Return the first value of a header; `name` in lower case."""
        return next(iter(self.header_values(name)), None)

    def first_header_of(self, names: frozenset[str]) -> str | None:
        """Return the name of the first header that is one of `names`, which are in lower case."""
        return next((name for name in self._headers if name in names), None)

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
    def wants_upgrade(self) -> bool:
        """Whether this asks for a WebSocket (RFC 6455 section 4.2.1); proxies add items to Connection."""
        if not self._may_upgrade:
            return False
        connection = (item.lower() for item in self.header_items("connection"))
        return "upgrade" in connection and (self.header("upgrade") or "").lower() == "websocket"

    @property
    def has_body(self) -> bool:
        """Whether something follows the head that belongs to the request (RFC 9112 section 6.3)."""
        return any(value != "0" for value in self.header_values("content-length")) or bool(
            self.header_values("transfer-encoding")
        )

    @property
    def websocket_key(self) -> str | None:
        """The key that the client made for this handshake: 16 bytes in base64; None if there is not exactly one."""
        keys = self.header_values("sec-websocket-key")
        try:
            is_key = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == _KEY_BYTES
        except ValueError:
            return None
        return keys[0] if is_key else None

    @property
    def offers_subprotocol(self) -> bool:
        """Whether the client offered `wsctl.v1`, which the server then echoes."""
        return SUBPROTOCOL in self.header_items("sec-websocket-protocol")

    @staticmethod
    def is_token(subprotocol: str) -> bool:
        """Tell whether an offered subprotocol is a token."""
        return subprotocol.startswith(_TOKEN_SUBPROTOCOL)

    def subprotocol_token(self) -> str | None:
        """Return the token of a `token.<base64url>` subprotocol; one that does not decode counts as empty."""
        for item in self.header_items("sec-websocket-protocol"):
            if self.is_token(item):
                encoded = item.removeprefix(_TOKEN_SUBPROTOCOL)
                try:
                    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
                except (binascii.Error, ValueError):
                    return ""
        return None


def client_fields(request: HandshakeRequest, peer_ip: str | None) -> dict[str, object]:
    """Return how the log names a client: as `peer`, and `via` the proxy that it came through."""
    client = request.client_ip or UNIX
    return {"peer": client} if request.client_ip == peer_ip else {"peer": client, "via": peer_ip or UNIX}

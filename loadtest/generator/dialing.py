"""Opens connections to the target: token, URL, TLS, source address, and why one did not come about."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from picows import WSError, WSHandshakeError, WSListener, ws_connect

from loadtest.generator.connections import MAX_MESSAGE_BYTES
from loadtest.wire import Headers, Plan, Tokens
from wscore.errors import WsctlError
from wscore.foreign import Adapter, ProtocolName
from wscore.guest import mint_guest_token
from wscore.tokens import mint_jwt
from wscore.wallclock import now_ms

READ_BUFFER_BYTES: Final = 4096
HANDSHAKE_TIMEOUT_S: Final = 10.0
PER_SOURCE_ADDRESS: Final = 25_000  # ephemeral ports are some 28,000 an address
NO_HEADERS: Final = Headers()
_TOKEN_LIFE_S: Final = 7 * 24 * 3600

_REFUSALS: Final = ("HTTP 401", "HTTP 403", "AUTH_", "SESSION_CREATE_FAILED", "room.join refused: FORBIDDEN")

NO_FILES: Final = "too many open files"
NO_PORT: Final = "no free local port"
OWN_LIMITS: Final = (NO_FILES, NO_PORT)  # of this machine: no target is to blame for them

_ERRNO_TEXTS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "timed out",
    errno.EMFILE: NO_FILES,
    errno.ENFILE: NO_FILES,
    errno.EADDRNOTAVAIL: NO_PORT,
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
}


class Dialer:
    """Knows a target and who connects to it; resolves its name once."""

    def __init__(
        self,
        url: str,
        tokens: Tokens,
        *,
        headers: Headers = NO_HEADERS,
        ca: str | None = None,
        insecure: bool = False,
        cert: str | None = None,
        key: str | None = None,
        timeout_s: float = HANDSHAKE_TIMEOUT_S,
        adapter: Adapter | None = None,
        rooms: tuple[str, ...] = (),
    ) -> None:
        self._tokens = tokens
        self._rooms = rooms  # that the tokens of users allow
        self._guests = uuid.uuid4()
        self._timeout_s = timeout_s
        self._headers = headers.items if adapter is None else offering(headers.items, adapter.subprotocols)
        self._is_ours = adapter is None or adapter.name == ProtocolName.WSCTL
        parts = urlsplit(url)
        if adapter is not None:
            parts = _adapted(parts, adapter)
        self._parts = parts
        self._tls = _tls_context(ca, insecure, cert, key) if parts.scheme == "wss" else None
        self._host = parts.hostname or ""
        self.port = parts.port or (443 if self._tls else 80)
        self._family, self._address = self._resolve()
        in_url = any(field.partition("=")[0] == "token" for field in parts.query.split("&"))
        self._has_token = in_url or headers.have_token

    @classmethod
    def of(cls, plan: Plan, adapter: Adapter | None = None) -> Dialer:
        """Return the one for a plan; `adapter` takes the place of its protocol."""
        if adapter is None and plan.dialogue is not None:
            adapter = plan.dialogue.adapter()
        return cls(
            plan.url,
            plan.tokens,
            headers=plan.headers,
            ca=plan.ca,
            insecure=plan.insecure,
            cert=plan.cert,
            key=plan.key,
            timeout_s=plan.handshake_timeout_s,
            adapter=adapter,
            rooms=(plan.group_name("*"),) if plan.rooms else (),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether the target is on this machine."""
        return ipaddress.ip_address(self._address[0]).is_loopback

    def _resolve(self) -> tuple[int, tuple[Any, ...]]:
        family, _, _, _, address = socket.getaddrinfo(self._host, self.port, type=socket.SOCK_STREAM)[0]
        return family, address

    async def dial(self, listener: WSListener, index: int, query: dict[str, str]) -> None:
        """Connect `listener`, the connection number `index`, with `query` added to the URL.

        Raises OSError, TimeoutError and picows' errors; `reason` puts them into words.
        """

        async def connected_socket(_: object) -> socket.socket:
            return await self._connect(index)

        async with asyncio.timeout(self._timeout_s):
            _, connected = await ws_connect(
                lambda: listener,
                self._url(index, query),
                ssl_context=self._tls,
                websocket_handshake_timeout=self._timeout_s,
                read_buffer_init_size=READ_BUFFER_BYTES,
                max_frame_size=MAX_MESSAGE_BYTES,
                max_redirects=0,
                extra_headers=self._headers,
                socket_factory=connected_socket,
                logger_name=_SILENT,  # type: ignore[arg-type]
            )
        if connected is None:  # which is how picows says that the target hung up before it answered
            raise WSError("no answer")

    async def _connect(self, index: int) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.is_loopback and self._family == socket.AF_INET and index >= PER_SOURCE_ADDRESS:
                sock.bind((f"127.0.0.{1 + index // PER_SOURCE_ADDRESS}", 0))
            await asyncio.get_running_loop().sock_connect(sock, self._address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _url(self, index: int, query: dict[str, str]) -> str:
        fields = dict(query)
        tokens = self._tokens
        is_guest = self._is_ours and not tokens.is_none and (not self._has_token or tokens.secret is not None)
        if tokens.is_chosen or is_guest:
            fields["token"] = self._token(index, fields)
        kept = [field for field in self._parts.query.split("&") if field and field.partition("=")[0] not in fields]
        return urlunsplit(self._parts._replace(query="&".join([*kept, urlencode(fields)] if fields else kept)))

    def _token(self, index: int, query: dict[str, str]) -> str:
        tokens = self._tokens
        if tokens.token is not None:
            return tokens.token
        if tokens.as_users and tokens.secret is not None:
            claims: dict[str, object] = {"sub": f"load-{index}", "exp": now_ms() // 1000 + _TOKEN_LIFE_S}
            if "sessionId" in query:
                claims["sid"] = query["sessionId"]
            if self._rooms:
                claims["rooms"] = list(self._rooms)
            return mint_jwt(tokens.secret, claims)
        # Who comes back is the same guest: a resume token is worth nothing to another one.
        guest = uuid.UUID(bytes=uuid.uuid5(self._guests, str(index)).bytes, version=4)
        return mint_guest_token(guest, now_ms(), tokens.secret)


def offering(headers: tuple[tuple[str, str], ...], subprotocols: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the headers with subprotocols offered, beside those that they offer already."""
    if not subprotocols:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() != "sec-websocket-protocol"]
    given = [
        word.strip() for name, value in headers if name.lower() == "sec-websocket-protocol" for word in value.split(",")
    ]
    return (*kept, ("Sec-WebSocket-Protocol", ", ".join(dict.fromkeys((*given, *subprotocols)))))


def _adapted(parts: SplitResult, adapter: Adapter) -> SplitResult:
    """Return a URL as a protocol has it: its own path where there is none, and its fields in the query."""
    named = {field.partition("=")[0] for field in parts.query.split("&")}
    fields = [f"{name}={value}" for name, value in adapter.query if name not in named]
    path = adapter.path if adapter.path is not None and parts.path in ("", "/") else parts.path
    return parts._replace(path=path, query="&".join(filter(None, (parts.query, *fields))))


def reason(error: BaseException) -> str:
    """Return in few words why a connection did not come about, without any part of the URL."""
    if isinstance(error, WsctlError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, WSHandshakeError) and error.response is not None:
        if error.response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return "HTTP 101 that does not accept this WebSocket"
        return f"HTTP {int(error.response.status)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}".replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return "unknown host"
    if isinstance(error, OSError):
        return _ERRNO_TEXTS.get(error.errno or 0, (error.strerror or "connection failed").lower())
    if isinstance(error, WSError | RuntimeError):
        return "no WebSocket answer"
    return type(error).__name__


def is_refusal(reason: str) -> bool:
    """Tell whether that reason will be the same next time, unless the token is another."""
    return reason.startswith(_REFUSALS)


class _Silent:
    """In place of a logger: what a target does wrong is counted, not logged."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return False

    def log(self, *arguments: object, **named: object) -> None:
        pass

    debug = info = warning = error = exception = log


_SILENT: Final = _Silent()


def _tls_context(ca: str | None, is_insecure: bool, cert: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context

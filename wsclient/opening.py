"""Opens one WebSocket, tells its handshake, and puts into words why none came about."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
    WebSocketException,
)
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from wsclient.dialling import NO_PROXY, DialOptions
from wsclient.errors import ConnectionFailedError, CredentialsRefusedError, HandshakeRefusedError
from wsclient.events import ControlFrame
from wsclient.handshake import REDIRECTED, Handshake, TlsFacts, shown_body, shown_headers
from wsclient.tls import peer_certificate, tls_problem, wrong_scheme
from wsclient.url import is_loopback_url, shown_url
from wscore.codes import CloseCode
from wscore.text import describe, neutralise, redact
from wscore.units import format_duration, format_figure
from wscore.wallclock import now_ms

# websockets writes the request line, and with it the token, at debug level.
_LOGGER: Final = logging.getLogger("websockets.wsctl")
_LOGGER.setLevel(logging.INFO)

MAX_RETRY_AFTER_MS: Final = 10 * 60 * 1000  # no server may send a client away for longer
_PING_BYTES: Final = 4
_MAX_UNREAD_BYTES: Final = 1 << 20
_LAST_S: Final = 1.0  # for the server to end the connection itself, once both sides have said goodbye
_MAX_WORDS: Final = 200  # characters of a refusal's body that stand in an error
# What to give to get in, by the scheme that the server asks for.
_MENDS: Final = {
    "basic": "give a user by -u",
    "bearer": "give a token by --token, or by --header 'Authorization: Bearer …'",
}
_ANY_MEND: Final = "give what lets you in: --token, -u, --header, --cookie, or an --origin that it allows"
_CERTIFICATE_MEND: Final = "give a client certificate by --cert and --key"
_NO_PLACE: Final = frozenset((400, 404, 405, 426, 501))  # statuses of a path at which no WebSocket is
_PLACE_MEND: Final = "is its path another than /? --protocol socketio and phoenix know theirs, GraphQL often /graphql"
# Of an answer that is none; what the library says of these may be told by their kind alone.
_CAUSES: Final[dict[type, str]] = dict.fromkeys(
    (SecurityError, StatusLineTooLong, HeaderLineTooLong, TooManyHeaders), "its answer is too large"
) | {EOFError: "it hung up before it had given an HTTP answer"}
_TITLE: Final = re.compile(r"(?is)<title>\s*(?:\d{3}\s+)?(.*?)\s*</title>")

Tell = Callable[[Handshake | ControlFrame], None]


class ObservedConnection(ClientConnection):
    """A connection that notes what TLS agreed on, what it was lost by, and tells its pings and pongs."""

    def __init__(self, *arguments: Any, tell: Tell | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tell = tell
        self._heard: asyncio.Future[None] | None = None
        self.tls: TlsFacts | None = None
        self.lost_by: Exception | None = None
        self._unread_bytes = 0  # of pongs, since the server read something the last time
        self._ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at TLS while it is there (asyncio)."""
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            cipher = tls.cipher()
            self.tls = TlsFacts(tls.version(), None if cipher is None else cipher[0], tls.getpeercert(True))
        super().connection_made(transport)

    async def heard(self) -> None:
        """Wait until anything comes in, or the connection is lost."""
        self._heard = self.loop.create_future()
        await self._heard

    def data_received(self, data: bytes) -> None:
        """Read; whatever comes is a sign of life (asyncio)."""
        super().data_received(data)
        if self.response is None and self.protocol.handshake_exc is not None:
            self.transport.abort()  # the library waits for the server to hang up
        self._hear()
        if self._ending is None and self.protocol.close_expected():
            self._ending = self.loop.call_later(_LAST_S, self.transport.abort)  # the library waits for ever

    def _hear(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    async def ping(self, data: Any = None) -> Awaitable[float]:
        """Send a ping, and tell it."""
        payload = data if data is not None else secrets.token_bytes(_PING_BYTES)
        pong = await super().ping(payload)
        self._tell_control(is_sent=True, is_ping=True, size_bytes=len(payload))
        return pong

    def process_event(self, event: Any) -> None:
        """Tell a ping or a pong that came; a ping was answered by the library already."""
        if not isinstance(event, Frame) or event.opcode not in (Opcode.PING, Opcode.PONG):
            super().process_event(event)
            return
        is_ping, size = event.opcode is Opcode.PING, len(event.data)
        is_awaited = not is_ping and bytes(event.data) in self.pending_pings
        super().process_event(event)
        round_trip_ms = self.latency * 1000 if is_awaited else None
        self._tell_control(is_sent=False, is_ping=is_ping, size_bytes=size, round_trip_ms=round_trip_ms)
        if is_ping:
            self._tell_control(is_sent=True, is_ping=False, size_bytes=size)
            self._check_reads(size)

    def _check_reads(self, pong_bytes: int) -> None:
        """Give up a server that pings on and on and reads nothing: the library keeps each pong in memory."""
        is_unread = self.transport.get_write_buffer_size() > _MAX_UNREAD_BYTES
        self._unread_bytes = self._unread_bytes + pong_bytes if is_unread else 0
        if self._unread_bytes > _MAX_UNREAD_BYTES and not self.transport.is_closing():
            self.protocol.fail(CloseCode.POLICY_VIOLATION, "the server reads none of the answers to its pings")
            self.transport.abort()

    def _tell_control(self, **fields: Any) -> None:
        if self._tell is not None:
            self._tell(ControlFrame(at_ms=now_ms(), **fields))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why: that a client certificate is asked for comes behind the handshake of TLS 1.3 (asyncio)."""
        self.lost_by = exc
        if self._ending is not None:
            self._ending.cancel()
        super().connection_lost(exc)
        self._hear()


async def open_websocket(url: str, shown: str, options: DialOptions, tell: Tell | None = None) -> ObservedConnection:
    """Return an open connection to `url`; errors mention `shown`, which has no token in it.

    `tell` gets the handshake with every server on the way, redirects included. Raises ConnectionFailedError.
    """
    return await _Opening(url, shown, options, tell).run()


class _Opening:
    """One try."""

    def __init__(self, url: str, shown: str, options: DialOptions, tell: Tell | None) -> None:
        self._url = url
        self._shown = shown
        self._options = options
        self._tell = self._told_to = tell
        self._hops: list[ObservedConnection] = []
        self._started_s = time.monotonic()
        self._proxy = None if options.uds is not None else _proxy_of(url, options.proxy)
        self._shown_proxy = None if self._proxy is None else shown_url(self._proxy).rstrip("/")

    async def run(self) -> ObservedConnection:
        try:
            connection = await self._connect()
        except Exception as error:
            failed = await self._explain(error)
            self._tell_all(failed.problem)
            raise failed from None
        try:
            self._tell_all(None)
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    async def _connect(self) -> ObservedConnection:
        options = self._options
        arguments: dict[str, Any] = {
            "additional_headers": options.headers,
            "origin": options.origin,
            "subprotocols": list(options.subprotocols) or None,
            "open_timeout": options.open_timeout_s,
            "close_timeout": options.close_timeout_s,
            "max_size": options.max_message_bytes,
            "logger": _LOGGER,
            "ping_interval": None,  # the client has its own ways to see that a server is gone
            "create_connection": self._new_connection,
        }
        if self._url.startswith("wss:") and options.tls is not None:
            arguments["ssl"] = options.tls
        if options.uds is not None:
            await unix_connect(options.uds, self._url, **arguments)
        else:
            await connect(self._url, proxy=self._proxy, **arguments)
        return self._hops[-1]

    def _new_connection(self, *arguments: Any, **options: Any) -> ObservedConnection:
        connection = ObservedConnection(*arguments, tell=self._told_to, **options)
        self._hops.append(connection)
        return connection

    async def _explain(self, error: Exception) -> ConnectionFailedError:
        """Return what went wrong in words, with the option that helps."""
        url = self._url
        if isinstance(error, InvalidProxyStatus):
            return self._refusal(error.response, f"the proxy {self._shown_proxy}")
        if isinstance(error, InvalidStatus):
            response = error.response
            # What nginx says on its port for TLS; over TLS it says so of a client certificate that is missing.
            may_be_scheme = response.status_code == HTTPStatus.BAD_REQUEST and url.startswith("ws:")
            if may_be_scheme and (problem := await self._wrong_scheme()) is not None:
                return ConnectionFailedError(self._shown, problem)
            return self._refusal(response, "the server")
        lost_by = self._hops[-1].lost_by if self._hops else None
        if isinstance(error, InvalidMessage) and isinstance(lost_by, ssl.SSLError):
            error = lost_by
        problem, may_be_scheme = self._words(error)
        if may_be_scheme:
            problem = await self._wrong_scheme() or problem
        if isinstance(error, ssl.SSLCertVerificationError) and self._tell is not None and self._is_direct:
            certificate = await peer_certificate(url)
            self._tell(self._handshake(problem, tls=TlsFacts(None, None, certificate)))
            self._tell = None
        # What websockets says may quote a URL: that of a proxy or a redirect.
        return ConnectionFailedError(self._shown, redact(problem))

    def _words(self, error: Exception) -> tuple[str, bool]:
        """Return a problem in words, and whether it may come from ws:// in place of wss://, or the other way round."""
        url = self._url
        match error:
            case InvalidHeader():  # its value may be anything
                fault = "missing" if error.value is None else "invalid"
                return f"no WebSocket server answered: {fault} {error.name} header", False
            case ProxyError():
                return f"no connection through the proxy {self._shown_proxy}: {_root_of(error)}", False
            case InvalidMessage() | StatusLineTooLong():
                what = _CAUSES.get(type(error.__cause__ or error), str(error))
                return f"no WebSocket server answered: {what}{self._place_mend}", True
            case InvalidHandshake():
                return f"no WebSocket server answered: {error}", False
            case TimeoutError():
                by = "" if self._proxy is None else f" through the proxy {self._shown_proxy}"
                return f"no answer{by} within {format_figure(self._options.open_timeout_s)} s", url.startswith("wss:")
            case ssl.SSLError():
                return tls_problem(error, url), not isinstance(error, ssl.SSLCertVerificationError)
            case OSError() if self._proxy is not None and not self._hops:
                return f"the proxy {self._shown_proxy} cannot be reached: {_reason(error, of_proxy=True)}", False
            case OSError():
                return _reason(error), isinstance(error, ConnectionResetError)
            case ImportError():
                return "a SOCKS proxy needs the package python-socks", False
            case InvalidURI() | InvalidProxy():
                whose = "the proxy's" if isinstance(error, InvalidProxy) else "its"
                return f"{whose} address is not valid: {error.msg}", False
            case WebSocketException() | ValueError() | EOFError():
                return describe(error), False
        raise error

    @property
    def _is_direct(self) -> bool:
        return self._options.uds is None and self._proxy is None

    async def _wrong_scheme(self) -> str | None:
        return await wrong_scheme(self._url) if self._is_direct else None

    def _refusal(self, response: Response, who: str) -> HandshakeRefusedError:
        """Return an HTTP answer that is no WebSocket, with what it says itself and the option that helps."""
        status = response.status_code
        problem = neutralise(f"{who} answered HTTP {status} {response.reason_phrase}".rstrip())
        words = _words_of(response)
        if words and words != response.reason_phrase:
            problem += f": {words}"
        retry_after_ms = _retry_after_ms(response)
        if retry_after_ms:
            problem += f"; it asks to wait {format_duration(retry_after_ms)}"
        mend = self._mend(response, words)
        if mend is None:
            if status in _NO_PLACE and "WebSocket" not in words:  # a server of ours names the path
                problem += self._place_mend
            return HandshakeRefusedError(self._shown, redact(problem), status, retry_after_ms)
        return CredentialsRefusedError(self._shown, redact(f"{problem}; {mend}"), status, retry_after_ms)

    @property
    def _place_mend(self) -> str:
        """What to say where no WebSocket answers at the path that stands for none."""
        return f"; {_PLACE_MEND}" if urlsplit(self._url).path in ("", "/") else ""

    def _mend(self, response: Response, words: str) -> str | None:
        """Return what lets us in, None if it is not for lack of credentials that we are not."""
        if response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return "put USER:PASSWORD@ before the host of --proxy"
        if response.status_code == HTTPStatus.BAD_REQUEST and self._url.startswith("wss:"):  # as nginx says it
            return _CERTIFICATE_MEND if "certificate" in words.lower() else None
        if response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return None
        asked = [value.split(" ", 1)[0].lower() for value in response.headers.get_all("WWW-Authenticate")]
        return next((_MENDS[scheme] for scheme in asked if scheme in _MENDS), _ANY_MEND)

    def _tell_all(self, problem: str | None) -> None:
        """Tell of every server on the way; a problem is that of the last one."""
        if self._tell is None:
            return
        for hop in self._hops[:-1]:
            self._tell(self._handshake(REDIRECTED, hop))
        self._tell(self._handshake(problem, self._hops[-1] if self._hops else None))

    def _handshake(
        self, problem: str | None, hop: ObservedConnection | None = None, *, tls: TlsFacts | None = None
    ) -> Handshake:
        took_ms = (time.monotonic() - self._started_s) * 1000
        if hop is None:
            return Handshake(self._shown, took_ms, problem, self._shown_proxy, tls=tls)
        request, response = hop.request, hop.response
        is_open = problem is None
        return Handshake(
            self._shown if hop is self._hops[0] else "where it was redirected to",
            took_ms,
            problem,
            self._shown_proxy,
            request_line="" if request is None else f"GET {shown_url(request.path)} HTTP/1.1",
            request_headers=() if request is None else shown_headers(request.headers.raw_items()),
            status=None if response is None else response.status_code,
            reason="" if response is None else response.reason_phrase,
            response_headers=() if response is None else shown_headers(response.headers.raw_items()),
            body="" if response is None else shown_body(bytes(response.body)),
            subprotocol=hop.subprotocol if is_open else None,
            extensions=tuple(extension.name for extension in hop.protocol.extensions) if is_open else (),
            tls=hop.tls,
        )


def _proxy_of(url: str, chosen: str | None) -> str | None:
    """Return the proxy that was chosen, else that of the environment, which does not come before this machine."""
    if chosen is not None:
        return None if chosen == NO_PROXY else chosen
    return None if is_loopback_url(url) else get_proxy(parse_uri(url))


def _root_of(error: BaseException) -> str:
    """Return what a proxy's library says, which is the cause of what websockets raises."""
    return str(error.__cause__ or error)


def _words_of(response: Response) -> str:
    """Return what a refusal says itself: the first line of a text, or the title of a page; empty if neither."""
    kind = next(iter(response.headers.get_all("Content-Type")), "").lower()
    body = shown_body(bytes(response.body))
    if kind.startswith("text/html"):
        title = _TITLE.search(body)
        body = "" if title is None else title[1]
    elif not kind.startswith("text/plain"):
        return ""
    return body.partition("\n")[0][:_MAX_WORDS]


def _retry_after_ms(response: Response) -> int:
    """Return how long to wait by `Retry-After`, seconds or a date (RFC 9110 section 10.2.3); 0 if it does not say."""
    for value in response.headers.get_all("Retry-After"):
        if value.strip().isdecimal():
            return min(int(value.strip()[:9]) * 1000, MAX_RETRY_AFTER_MS)
        with suppress(ValueError):
            date = parsedate_to_datetime(value)
            until_ms = round(date.replace(tzinfo=date.tzinfo or UTC).timestamp() * 1000)
            return min(max(0, until_ms - now_ms()), MAX_RETRY_AFTER_MS)
    return 0


def _reason(error: OSError, *, of_proxy: bool = False) -> str:
    """Return the operating system's words; several addresses tried give several errors, of which one will do."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return (
            "connection refused" if of_proxy else "connection refused; is the server running? `wsctl serve` starts one"
        )
    return describe(error)

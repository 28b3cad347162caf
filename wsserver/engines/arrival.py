"""One connection from accept() until it is a WebSocket, answered by plain HTTP or dropped; alike for both engines."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from wsserver.engines.base import Engine, UpgradeHandler
from wsserver.engines.head import END, MAX_HEAD_BYTES, HeadError, begins_request, parse_head
from wsserver.engines.networks import UNIX, TrustedNetworks
from wsserver.engines.pending import Pending
from wsserver.engines.proxyprotocol import ProxyHeader, ProxyHeaderError, ProxyHeaderReader
from wsserver.engines.request import HandshakeRequest, HttpReply, client_fields
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics, PendingDrop

_TOO_MANY: Final = HttpReply(
    HTTPStatus.TOO_MANY_REQUESTS, b"too many new connections from this address\n", (("Retry-After", "1"),)
)


@dataclass(frozen=True, slots=True)
class Reception:
    """What connections find behind one listening socket."""

    upgrades: UpgradeHandler
    engine: Engine
    pending: Pending
    trusted: TrustedNetworks
    proxy_protocol: bool
    metrics: Metrics
    log: EventLog
    tls: ssl.SSLContext | None
    tls_timeout_s: float | None

    def take(self, connection: socket.socket, peer_ip: str | None) -> None:
        """Take an accepted connection; `peer_ip` is None on a Unix socket."""
        arrival = Arrival(self, connection, peer_ip)
        self.pending.enter(arrival)
        is_proxy = peer_ip in self.trusted
        if self.proxy_protocol and is_proxy:
            arrival.read_proxy_header()
        elif self.proxy_protocol:
            arrival.refuse_proxy_header("not a trusted proxy")
        elif is_proxy:
            arrival.connect()  # its request will say who the client is
        else:
            arrival.identify(peer_ip)


class Arrival(asyncio.Protocol):
    """A pending connection. It reads the request's head, and hands what may become a WebSocket to the engine."""

    __slots__ = (
        "_head",
        "_is_answered",
        "_is_connecting",
        "_is_identified",
        "_peer_ip",
        "_proxy_header",
        "_reception",
        "_socket",
        "_task",
        "_transport",
        "client",
        "deadline_s",
    )

    def __init__(self, reception: Reception, connection: socket.socket, peer_ip: str | None) -> None:
        self._reception = reception
        self._socket = connection
        self._peer_ip = peer_ip
        self._task: asyncio.Task[object] | None = None
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._is_answered = self._is_connecting = self._is_identified = False
        self._proxy_header: ProxyHeaderReader | None = None
        self.client: str | None = None
        self.deadline_s = 0.0

    def read_proxy_header(self) -> None:
        """Learn from a trusted peer whom it speaks for."""
        self._proxy_header = ProxyHeaderReader(self._socket, self._on_proxy_header)

    def refuse_proxy_header(self, problem: str) -> None:
        """Drop a connection from which a header would be worth nothing, or that has none."""
        self._reception.metrics.pending_dropped[PendingDrop.PROXY_HEADER].value += 1
        self._reception.log.debug("proxy.refused", peer=self._peer_ip or UNIX, problem=problem)
        self._give_up()

    def identify(self, client_ip: str | None) -> None:
        """Go on within the limits of the client, which is known before its request."""
        self._is_identified = True
        self._peer_ip = client_ip
        if self._reception.pending.identify(self, client_ip):
            self.connect()
        else:
            self._give_up()

    def connect(self) -> None:
        """Let the event loop read and write the connection, after a TLS handshake if there is TLS."""
        self._task = asyncio.get_running_loop().create_task(self._connect())

    def drop(self) -> None:
        """End it, without an answer (for `Pending`)."""
        if self._transport is not None:
            self._transport.abort()
            return
        if self._proxy_header is not None:
            self._proxy_header.close()
        if self._task is not None:
            self._task.cancel()
        if not self._is_connecting:  # else the event loop closes it
            self._socket.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know the way to the peer (asyncio)."""
        self._task = None
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read the head, and what comes behind an answer into nothing (asyncio)."""
        if self._is_answered:
            return
        head = self._head
        searched = len(head)
        head += data
        if not searched and not begins_request(head):  # TLS, for instance, whose peer would wait for an answer
            self._refuse(HTTPStatus.BAD_REQUEST, "not an HTTP request")
            return
        end = head.find(END, max(0, searched - len(END)))
        if end > MAX_HEAD_BYTES or (end < 0 and len(head) > MAX_HEAD_BYTES):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"request head over {MAX_HEAD_BYTES} bytes")
        elif end >= 0:
            try:
                request = parse_head(bytes(head[:end]))
            except HeadError as error:
                self._refuse(error.status, error.problem)
            else:
                self._on_request(request, bytes(head[end + len(END) :]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Be pending no longer (asyncio)."""
        self._reception.pending.leave(self)

    def _on_proxy_header(self, header: ProxyHeader | ProxyHeaderError | None) -> None:
        self._proxy_header = None
        if isinstance(header, ProxyHeader):
            self.identify(header.ip or self._peer_ip)
        elif header is None:
            self._give_up()
        else:
            self.refuse_proxy_header(header.problem)

    def _give_up(self) -> None:
        self._reception.pending.leave(self)
        self.drop()

    async def _connect(self) -> None:
        self._is_connecting = True
        reception = self._reception
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._itself, self._socket, ssl=reception.tls, ssl_handshake_timeout=reception.tls_timeout_s
            )
        except OSError:  # a peer that is gone already, or fails at TLS, is no event
            self._socket.close()
            reception.pending.leave(self)

    def _itself(self) -> Arrival:
        return self

    def _on_request(self, request: HandshakeRequest, rest: bytes) -> None:
        reception, transport = self._reception, self._transport
        assert transport is not None
        try:
            answer = reception.upgrades.handshake(request, self._peer_ip)
        except Exception as error:
            reception.log.failure("request.failed", error)
            answer = HttpReply(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")
        if not self._is_identified and not reception.pending.identify(self, request.client_ip):
            answer = _TOO_MANY
        if isinstance(answer, HttpReply):
            self._reply(answer, request, is_clean=not rest and not request.has_body)
        else:
            reception.pending.leave(self)
            reception.engine.upgrade(request, answer, transport, self._peer_ip, rest)

    def _refuse(self, status: HTTPStatus, problem: str) -> None:
        self._reply(HttpReply(status, f"{problem}\n".encode()))

    def _reply(self, reply: HttpReply, request: HandshakeRequest | None = None, *, is_clean: bool = False) -> None:
        """Answer, and close. `is_clean` says that nothing more is to come: unread bytes would take the answer back."""
        transport = self._transport
        assert transport is not None
        self._is_answered = True
        self._head.clear()
        transport.write(reply.to_bytes(with_body=request is None or request.method != "HEAD"))
        if is_clean or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()
        client = {"peer": self._peer_ip or UNIX} if request is None else client_fields(request, self._peer_ip)
        fields: dict[str, object] = {**client, "status": reply.status.value}
        if request is not None:
            fields |= {"method": request.method, "path": request.shown_path}
        if reply.status < HTTPStatus.BAD_REQUEST:
            self._reception.log.debug("request.answered", **fields)
        else:
            self._reception.log.info("request.refused", **fields)

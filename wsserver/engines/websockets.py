"""The reference engine: the sans-I/O protocol of `websockets`, with permessage-deflate (design section 5)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING, OPEN, SEND_EOF
from websockets.server import ServerProtocol

from wscore.codes import CloseCode
from wsserver.engines.accepting import listen
from wsserver.engines.assembly import Assembler, FrameError, check_text
from wsserver.engines.base import Door, EngineSettings, Gateway, ListeningSockets, close_reason, hand_over
from wsserver.handshake import SUBPROTOCOL, HandshakeRequest, HttpReply
from wsserver.logs import EventLog

_NOT_A_REQUEST: Final = Response(
    HTTPStatus.BAD_REQUEST.value,
    HTTPStatus.BAD_REQUEST.phrase,
    Headers([("Connection", "close"), ("Content-Type", "text/plain"), ("Content-Length", "20")]),
    b"not an HTTP request\n",
).serialize()
_DATA: Final = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class WebsocketsEngine:
    """Listens on TCP or a Unix socket."""

    __slots__ = ("_log", "_settings")

    def __init__(self, settings: EngineSettings, log: EventLog) -> None:
        self._settings = settings
        self._log = log

    async def listen(
        self, door: Door, *, host: str | None, port: int, uds: str | None, tls: ssl.SSLContext | None
    ) -> ListeningSockets:
        """Listen on host and port, or on the Unix socket `uds`; raises OSError."""
        return await listen(
            lambda: _Peer(door, self._settings, self._log),
            host=host,
            port=port,
            uds=uds,
            tls=tls,
            handshake_timeout_s=self._settings.handshake_timeout_s,
        )


class _Peer(asyncio.Protocol):
    """One connection: asyncio calls it with bytes, the server calls it as `Channel`."""

    __slots__ = (
        "_assembler",
        "_connection",
        "_door",
        "_gateway",
        "_log",
        "_protocol",
        "_settings",
        "_timer",
        "_transport",
        "_write_paused",
        "peer_ip",
    )

    _gateway: Gateway[Any]  # known once the handshake is done

    def __init__(self, door: Door, settings: EngineSettings, log: EventLog) -> None:
        self._door = door
        self._settings = settings
        self._log = log
        extensions = [ServerPerMessageDeflateFactory()] if settings.compression else None
        self._protocol = ServerProtocol(extensions=extensions, max_size=settings.max_message_bytes)
        self._connection: Any = None
        self._assembler: Assembler | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self.peer_ip: str | None = peername[0] if isinstance(peername, tuple) else None
        self._abort_in(self._settings.handshake_timeout_s)

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        events = protocol.events_received()
        if protocol.state is CONNECTING and (protocol.handshake_exc or protocol.parser_exc):
            self._turn_away()
            return
        if self._write_paused and all(isinstance(event, Frame) and event.opcode is Opcode.PING for event in events):
            protocol.data_to_send()  # pongs for a peer that does not read would only pile up
        self._flush()
        try:
            for event in events:
                if isinstance(event, Request):
                    self._on_request(event)
                elif self._connection is not None:
                    self._on_frame(cast(Frame, event))
        except FrameError as error:
            protocol.fail(error.code, close_reason(error.reason))
        except Exception as error:
            self._log.failure("connection.failed", error)
            self.close(CloseCode.INTERNAL_ERROR, "Internal error")
        self._flush()
        if protocol.close_expected() and self._timer is None:
            self._abort_in(self._settings.close_timeout_s)

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        connection, self._connection = self._connection, None
        if connection is not None:
            received = self._protocol.close_rcvd
            code = CloseCode.ABNORMAL if received is None else received.code
            self._gateway.closed(connection, code, "" if received is None else received.reason)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._connection is not None:
            self._gateway.paused(self._connection)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._connection is not None:
            self._gateway.resumed(self._connection)

    def send_text(self, payload: bytes) -> None:
        if self._protocol.state is OPEN:
            self._protocol.send_text(payload)
            self._flush()

    def send_binary(self, payload: bytes) -> None:
        if self._protocol.state is OPEN:
            self._protocol.send_binary(payload)
            self._flush()

    def send_frames(self, frames: bytes, payloads: Sequence[bytes]) -> None:
        if self._protocol.state is not OPEN:
            return
        if self._protocol.extensions:
            for payload in payloads:
                self._protocol.send_text(payload)
            self._flush()
        else:
            self._transport.write(frames)

    def buffered_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        if self._protocol.state is OPEN:
            self.resume_reading()  # or the peer's answer would never be seen
            self._protocol.send_close(code, close_reason(reason))
            self._flush()
            self._abort_in(self._settings.close_timeout_s)

    def abort(self) -> None:
        self._transport.abort()

    def _on_request(self, request: Request) -> None:
        self._stop_timer()
        if request.method != "GET":
            self._respond(self._protocol.reject(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n"))
            return
        try:
            head = HandshakeRequest(request.path, request.headers.raw_items())
        except ValueError:
            self._respond(self._protocol.reject(HTTPStatus.BAD_REQUEST, "bad request target\n"))
            return
        answer = self._door.handshake(head)
        if isinstance(answer, HttpReply):
            response = self._protocol.reject(answer.status, answer.body)
            for name, value in answer.headers:
                response.headers[name] = value
            self._respond(response)
            return
        response = self._protocol.accept(request)
        if head.offers_subprotocol and response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        self._respond(response)
        if self._protocol.state is OPEN:
            self._gateway = answer
            self._connection = answer.opened(head, self)

    def _turn_away(self) -> None:
        """Answer what is no request, or one with bytes behind it that are no frames: the parser gave up on both."""
        if self._protocol.writes == [SEND_EOF]:  # it answers what is too long by itself, the rest not at all
            self._protocol.writes.insert(0, _NOT_A_REQUEST)
        self._flush()

    def _respond(self, response: Response) -> None:
        self._protocol.send_response(response)
        self._flush()

    def _on_frame(self, frame: Frame) -> None:
        connection = self._connection
        payload = bytes(frame.data)
        if frame.opcode is Opcode.TEXT and frame.fin and self._assembler is None:
            check_text(payload)
            self._gateway.text(connection, payload)
        elif frame.opcode in _DATA:
            self._assembler = self._assembler or Assembler(self._settings.max_message_bytes)
            message = self._assembler.add(frame.opcode, frame.fin, payload)
            if message is not None:
                self._assembler = None
                hand_over(self._gateway, connection, *message)
        elif frame.opcode is not Opcode.CLOSE:
            self._gateway.control(connection)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                # Half-closing lets the peer read the close frame even while it still sends.
                self._transport.write_eof()
            else:
                self._transport.close()

    def _abort_in(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

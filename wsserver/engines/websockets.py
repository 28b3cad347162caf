"""The reference engine: the sans-I/O protocol of `websockets`, with permessage-deflate (design section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from wscore.codes import CloseCode
from wsserver.engines.assembly import Assembler, FrameError, check_text
from wsserver.engines.base import EngineSettings, Gateway, close_reason, hand_over
from wsserver.handshake import SUBPROTOCOL, HandshakeRequest, HttpReply
from wsserver.logs import EventLog

_EXTENSIONS: Final = "Sec-WebSocket-Extensions"
_DATA: Final = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class WebsocketsEngine:
    """Speaks WebSocket on TCP or a Unix socket."""

    __slots__ = ("_log", "_settings")

    def __init__(self, settings: EngineSettings, log: EventLog) -> None:
        self._settings = settings
        self._log = log

    def upgrade(
        self,
        request: HandshakeRequest,
        gateway: Gateway[Any],
        transport: asyncio.Transport,
        peer_ip: str | None,
        rest: bytes,
    ) -> None:
        """Answer with 101, and speak WebSocket from then on."""
        available = [ServerPerMessageDeflateFactory()] if self._settings.compression else None
        protocol = _Frames(extensions=available, max_size=self._settings.max_message_bytes, state=OPEN)
        headers = Headers()
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Accept"] = accept_key(request.header("sec-websocket-key") or "")
        offers = Headers([(_EXTENSIONS, value) for value in request.header_values(_EXTENSIONS.lower())])
        try:
            extensions, protocol.extensions = protocol.process_extensions(offers)
        except InvalidHandshake:
            transport.write(HttpReply(HTTPStatus.BAD_REQUEST, b"malformed Sec-WebSocket-Extensions\n").to_bytes())
            transport.close()
            return
        if extensions is not None:
            headers[_EXTENSIONS] = extensions
        if request.offers_subprotocol:
            headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        peer = _Peer(protocol, gateway, transport, peer_ip, self._settings, self._log)
        transport.set_protocol(peer)
        status = HTTPStatus.SWITCHING_PROTOCOLS
        transport.write(Response(status.value, status.phrase, headers).serialize())
        peer.begin(request, rest)


class _Frames(ServerProtocol):
    """Leaves it to the server whether a ping gets its pong, and only once it knows the connection."""

    on_ping: Callable[[bytes], None]

    def recv_frame(self, frame: Frame) -> None:
        """Process an incoming frame (websockets)."""
        if frame.opcode is Opcode.PING:
            self.on_ping(bytes(frame.data))
        else:
            super().recv_frame(frame)


class _Peer(asyncio.Protocol):
    """One connection: asyncio calls it with bytes, the server calls it as `Channel`."""

    __slots__ = (
        "_assembler",
        "_connection",
        "_gateway",
        "_log",
        "_protocol",
        "_settings",
        "_timer",
        "_transport",
        "peer_ip",
    )

    def __init__(
        self,
        protocol: _Frames,
        gateway: Gateway[Any],
        transport: asyncio.Transport,
        peer_ip: str | None,
        settings: EngineSettings,
        log: EventLog,
    ) -> None:
        self._protocol = protocol
        protocol.on_ping = self._on_ping
        self._gateway = gateway
        self._transport = transport
        self.peer_ip = peer_ip
        self._settings = settings
        self._log = log
        self._connection: Any = None
        self._assembler: Assembler | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: HandshakeRequest, rest: bytes) -> None:
        """Introduce the peer to the server, then take what it sent along with its request."""
        try:
            self._connection = self._gateway.opened(request, self)
        except Exception as error:
            self._fail(error)
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        events = protocol.events_received()
        self._flush()
        try:
            for event in events:
                if self._connection is not None:
                    self._on_frame(cast(Frame, event))
        except FrameError as error:
            protocol.fail(error.code, close_reason(error.reason))
        except Exception as error:
            self._fail(error)
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
        if self._connection is not None:
            self._gateway.paused(self._connection)

    def resume_writing(self) -> None:
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

    @property
    def descriptor(self) -> int:
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

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

    def _on_ping(self, payload: bytes) -> None:
        if self._connection is not None and self._gateway.control(self._connection) and self._protocol.state is OPEN:
            self._protocol.send_pong(payload)

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
        elif frame.opcode is Opcode.PONG:
            self._gateway.control(connection)

    def _fail(self, error: Exception) -> None:
        self._log.failure("connection.failed", error)
        self.close(CloseCode.INTERNAL_ERROR, "Internal error")

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

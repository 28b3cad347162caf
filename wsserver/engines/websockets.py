"""The reference engine: the sans-I/O protocol of `websockets`, with permessage-deflate (design section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import BytesLike
from websockets.utils import accept_key

from wscore.codes import CloseCode
from wscore.disconnects import Disconnect, DisconnectError, parser_disconnect
from wscore.frames import binary_frame, frame_header, unframed
from wsserver.engines.assembly import Assembler, check_text
from wsserver.engines.base import EngineSettings, Gateway, close_reason, hand_over
from wsserver.engines.request import SUBPROTOCOL, HandshakeRequest, HttpReply
from wsserver.engines.unfinished import Unfinished
from wsserver.engines.writing import WritingSide
from wsserver.outbound.backlog import Backlog
from wsserver.telemetry.logs import EventLog

_EXTENSIONS: Final = "Sec-WebSocket-Extensions"
_DATA: Final = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))
_COMPRESSED: Final = 0x40  # the flag RSV1 (RFC 7692 section 6)
_CONTROL: Final = 0x08  # set in the opcodes of control frames
# The library's own defaults: small messages are compressed nearly as well as with large windows, in less memory.
_DEFLATE: Final = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)
# A byte can become a thousand when it is inflated: so much is read at a time before the messages in it are handled.
INFLATED_AT_ONCE: Final = 4 << 10


class WebsocketsEngine:
    """Speaks WebSocket on TCP or a Unix socket."""

    __slots__ = ("_backlog", "_log", "_settings", "_unfinished")

    def __init__(self, settings: EngineSettings, backlog: Backlog, unfinished: Unfinished, log: EventLog) -> None:
        self._settings = settings
        self._backlog = backlog
        self._unfinished = unfinished
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
        available = [_DEFLATE] if self._settings.compression else None
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
        peer = _Peer(protocol, gateway, transport, peer_ip, self._settings, self._backlog, self._unfinished, self._log)
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


class _Peer(WritingSide, asyncio.Protocol):
    """One connection: asyncio calls it with bytes, the server calls it as `Channel`."""

    __slots__ = (
        "_assembler",
        "_backlog",
        "_connection",
        "_descriptor",
        "_direct",
        "_disconnect",
        "_gateway",
        "_has_ended",
        "_is_counted",
        "_is_held",
        "_log",
        "_outbox",
        "_protocol",
        "_raw",
        "_settings",
        "_timer",
        "_unfinished",
        "peer_ip",
    )

    def __init__(
        self,
        protocol: _Frames,
        gateway: Gateway[Any],
        transport: asyncio.Transport,
        peer_ip: str | None,
        settings: EngineSettings,
        backlog: Backlog,
        unfinished: Unfinished,
        log: EventLog,
    ) -> None:
        self._protocol = protocol
        protocol.on_ping = self._on_ping
        self._gateway = gateway
        self._raw = transport
        self.peer_ip = peer_ip
        self._settings = settings
        self._backlog = backlog
        self._unfinished = unfinished
        self._log = log
        self._connection: Any = None
        self._assembler: Assembler | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = self._is_counted = False

    def begin(self, request: HandshakeRequest, rest: bytes) -> None:
        """Introduce the peer to the server, then take what it sent along with its request."""
        self._start_writing(self._raw)
        try:
            self._connection = self._gateway.opened(request, self)
        except Exception as error:
            self._fail(error)
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        step = INFLATED_AT_ONCE if self._encodes else len(data)
        for start in range(0, len(data), step):
            self._receive(data[start : start + step])

    def _receive(self, data: bytes) -> None:
        protocol = self._protocol
        was_open = protocol.state is OPEN
        protocol.receive_data(data)
        events = protocol.events_received()
        if was_open and protocol.close_rcvd is not None and self._outbox is not None:
            self._outbox.drop()  # the peer wants no more
        self._flush()
        try:
            for event in events:
                if self._connection is not None:
                    self._on_frame(cast(Frame, event))
        except DisconnectError as error:
            if protocol.state is OPEN:
                self._disconnect = error.disconnect
            protocol.fail(error.disconnect.close_code, close_reason(error.disconnect.reason))
        except Exception as error:
            self._fail(error)
        self._flush()
        if protocol.close_expected() and self._timer is None:
            self._abort_in(self._settings.close_timeout_s)
        kept = self.shrink()
        if kept or self._is_counted:
            self._is_counted = kept > 0
            self._unfinished.note(self, kept, began=bool(events) and self._assembler is None)

    def shrink(self) -> int:
        """Return how much it keeps of a message that is not whole yet; there is nothing to give back."""
        assembler = self._assembler
        return len(self._protocol.reader.buffer) + (0 if assembler is None else assembler.size)

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_writing()
        self._unfinished.forget(self)
        self._protocol.reader.buffer.clear()  # the library's objects know each other, and go when the collector comes
        self._assembler = None
        connection, self._connection = self._connection, None
        if connection is not None:
            received, sent = self._protocol.close_rcvd, self._protocol.close_sent
            code, reason = (CloseCode.ABNORMAL, "") if received is None else (received.code, received.reason)
            disconnect = self._disconnect
            if disconnect is None and received is None and sent is not None:
                disconnect = parser_disconnect(sent.code, sent.reason)
            self._gateway.closed(connection, code, reason, disconnect)

    @property
    def _is_closing(self) -> bool:
        return self._protocol.state is not OPEN

    @property
    def _encodes(self) -> bool:
        return bool(self._protocol.extensions)

    def _encode(self, frames: bytes) -> bytes:
        """Compress messages in the order in which they go out: each depends on those before it (RFC 7692)."""
        if not self._protocol.extensions or frames[0] & _CONTROL:
            return frames
        deflate = self._protocol.extensions[0]
        parts: list[BytesLike] = []
        for first, payload in unframed(frames):
            data = deflate.encode(Frame(Opcode(first & 0x0F), payload)).data
            parts += (frame_header(first | _COMPRESSED, len(data)), data)
        return b"".join(parts)

    def send_binary(self, payload: bytes) -> None:
        self._send(binary_frame(payload))

    def close(self, disconnect: Disconnect) -> None:
        if self._protocol.state is OPEN:
            self._disconnect = disconnect
            self.resume_reading()  # or the peer's answer would never be seen
            if disconnect.drops and self._outbox is not None:
                self._outbox.drop()
            self._protocol.send_close(disconnect.close_code, close_reason(disconnect.reason))
            self._flush()
            self._abort_in(self._settings.close_timeout_s)

    def abort(self) -> None:
        self._raw.abort()

    def _on_ping(self, payload: bytes) -> None:
        if self._connection is not None and self._gateway.control(self._connection) and self._protocol.state is OPEN:
            self._answer_ping(payload)

    def _on_frame(self, frame: Frame) -> None:
        connection = self._connection
        payload = bytes(frame.data)
        frame.data = b""  # the library's parser keeps the frame until the next one comes
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

    def _flush(self) -> None:
        """Write what the protocol has to say: close frames, and the end."""
        if self._protocol.state is not OPEN:
            self._direct = -1
            if self._outbox is not None:
                self._outbox.is_closing = True
        for data in self._protocol.data_to_send():
            if data:
                self._append(data)
            else:
                self._has_ended = True
                self._may_end()

    def _may_end(self) -> None:
        if not self._has_ended or self._outbox is not None:
            return
        if self._raw.can_write_eof():
            # Half-closing lets the peer read the close frame even while it still sends.
            self._raw.write_eof()
        else:
            self._raw.close()

    def _abort_in(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

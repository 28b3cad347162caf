"""The default engine: picows' Cython parser with its callback API (design section 5)."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from wscore.codes import CloseCode
from wscore.disconnects import PROTOCOL_ERROR, Disconnect, DisconnectError, parser_disconnect
from wscore.errors import ConfigError
from wscore.frames import binary_frame, close_frame, close_payload, text_frame
from wsserver.engines.assembly import BINARY, CONTINUATION, TEXT, Assembler, check_text
from wsserver.engines.base import (
    EngineSettings,
    Gateway,
    close_reason,
    hand_over,
    is_sendable_code,
)
from wsserver.engines.reading import BoundedReads
from wsserver.engines.request import SUBPROTOCOL, HandshakeRequest
from wsserver.engines.unfinished import Unfinished
from wsserver.engines.writing import WritingSide
from wsserver.outbound.backlog import Backlog
from wsserver.telemetry.logs import EventLog

# Small, since each idle connection holds one; it grows with the messages that come (design section 5, point 6).
READ_BUFFER_BYTES: Final = 2048
# picows' own `send` copies up to this much, and hands more to the transport in two pieces: then it is ours to frame.
PICOWS_SENDS_BYTES: Final = 8192

# Looked up once: reading a member off the enum costs as much as the comparison, and each frame asks.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG
_CLOSE: Final = WSMsgType.CLOSE
_OPCODES: Final = {WSMsgType.CONTINUATION: CONTINUATION, _TEXT: TEXT, _BINARY: BINARY}


# What picows gets instead of the client's request, which was checked and keeps the token: it asks for no more.
_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


class PicowsEngine:
    """Speaks WebSocket with picows, on TCP."""

    __slots__ = ("_backlog", "_log", "_settings", "_unfinished")

    def __init__(self, settings: EngineSettings, backlog: Backlog, unfinished: Unfinished, log: EventLog) -> None:
        if settings.compression:
            raise ConfigError("--compression", "the picows engine has none", "use --engine websockets or auto")
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
        log = _ParserLog()
        unfinished = self._unfinished
        log.peer = peer = _Peer(gateway, request, peer_ip, self._settings, self._backlog, unfinished, self._log, log)
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if request.offers_subprotocol else None
        response = WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), peer)
        # picows' side of a connection, as its ws_create_server makes it, with a logger of our own.
        protocol = BoundedReads(
            None,  # host and port, path: a client's
            None,
            False,  # is no client
            lambda _: response,
            log,
            True,  # disconnect on exception
            None,  # the handshake is done
            False,  # no pings of its own: interval, time-out and strategy follow
            0,
            0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # no pongs of its own
            self._settings.max_message_bytes,
            None,  # extra headers: a client's
            READ_BUFFER_BYTES,
        )
        protocol.owner, peer.reads = peer, protocol
        transport.set_protocol(protocol)
        transport.pause_reading()  # uvloop looks at a protocol's kind when it begins to read
        transport.resume_reading()
        protocol.connection_made(transport)
        protocol.data_received(_REQUEST % (request.header("sec-websocket-key") or "").encode())
        protocol.data_received(rest)


class _ParserLog:
    """Takes the place of a logger: nothing that a peer does wrong belongs into the server's log.

    picows parses one frame ahead, and says that this one is broken before it sends its close frame and before it
    hands over the frame ahead of it. If that one was a close frame, it is the one to be answered.
    """

    __slots__ = ("peer",)

    def __init__(self) -> None:
        self.peer: _Peer | None = None

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return False

    def error(self, message: str, *arguments: object) -> None:
        if self.peer is not None:
            self.peer.on_parser_error()

    def log(self, *arguments: object) -> None:
        pass

    debug = info = warning = exception = log


class _Peer(WritingSide, WSListener):
    """One connection: picows calls it with frames, the server calls it as `Channel`."""

    __slots__ = (
        "_assembler",
        "_backlog",
        "_buffered",
        "_close_timer",
        "_closing",
        "_connection",
        "_descriptor",
        "_direct",
        "_disconnect",
        "_gateway",
        "_is_held",
        "_log",
        "_outbox",
        "_parser_log",
        "_peer_code",
        "_peer_reason",
        "_raw",
        "_request",
        "_said_goodbye",
        "_settings",
        "_transport",
        "_unfinished",
        "peer_ip",
        "reads",
    )

    def __init__(
        self,
        gateway: Gateway[Any],
        request: HandshakeRequest,
        peer_ip: str | None,
        settings: EngineSettings,
        backlog: Backlog,
        unfinished: Unfinished,
        log: EventLog,
        parser_log: _ParserLog,
    ) -> None:
        self.reads: BoundedReads | None = None
        self.peer_ip = peer_ip
        self._gateway = gateway
        self._request: HandshakeRequest | None = request
        self._settings = settings
        self._backlog = backlog
        self._unfinished = unfinished
        self._log = log
        self._parser_log = parser_log
        self._connection: Any = None
        self._assembler: Assembler | None = None
        self._buffered = 0  # what picows keeps, where it is so much that it counts
        self._close_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._said_goodbye = False
        self._peer_code: int = CloseCode.ABNORMAL
        self._peer_reason = ""

    def on_ws_connected(self, transport: WSTransport) -> None:
        request, self._request = self._request, None
        assert request is not None
        self._transport = transport
        self._start_writing(transport.underlying_transport)
        transport.request.headers.clear()  # the transport keeps it for its whole life
        try:
            self._connection = self._gateway.opened(request, self)
        except Exception as error:
            self._fail(error)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        connection = self._connection
        try:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                raise DisconnectError(PROTOCOL_ERROR, "reserved bits are set")
            if kind is _CLOSE:
                self._on_close(frame.get_payload_as_bytes())
            elif connection is None or self._closing:
                pass  # refused, or said goodbye to: what still comes in is read and dropped
            elif kind is _TEXT and frame.fin and self._assembler is None:
                payload = frame.get_payload_as_bytes()
                if not payload.isascii():
                    check_text(payload)
                self._gateway.text(connection, payload)
            elif kind is _PING:
                if self._gateway.control(connection):
                    self._answer_ping(frame.get_payload_as_bytes())
            elif kind is _PONG:
                self._gateway.control(connection)
            else:
                self._assembler = self._assembler or Assembler(self._settings.max_message_bytes)
                message = self._assembler.add(_OPCODES[kind], bool(frame.fin), frame.get_payload_as_bytes())
                self._count(began=False)
                if message is not None:
                    self._assembler = None
                    hand_over(self._gateway, connection, *message)
        except Exception as error:
            self._fail(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._stop_writing()
        self._closing = True
        self._unfinished.forget(self)
        self._assembler = None
        self._parser_log.peer = None  # or they would keep each other in memory
        reads, self.reads = self.reads, None
        if reads is not None:
            reads.owner = None
        connection, self._connection = self._connection, None
        if connection is not None:
            self._gateway.closed(connection, self._peer_code, self._peer_reason, self._ended_by())

    def count(self, buffered: int, *, began: bool) -> None:
        """Take down how much picows keeps; `began` if a frame in it is at its beginning."""
        self._buffered = buffered
        self._count(began=began and self._assembler is None)

    def _count(self, *, began: bool) -> None:
        fragments = 0 if self._assembler is None else self._assembler.size
        self._unfinished.note(self, self._buffered + fragments, began=began)

    def shrink(self) -> int:
        """Give back what picows keeps and does not need; returns what it keeps of a message that is not whole yet."""
        self._buffered = 0 if self.reads is None else self.reads.shrink()
        return self._buffered + (0 if self._assembler is None else self._assembler.size)

    def _ended_by(self) -> Disconnect | None:
        """Return why the server closed, if the peer did not: picows itself does so for what it cannot read."""
        handshake = self._transport.close_handshake
        if self._disconnect or handshake is None or handshake.sent is None or handshake.recv_then_sent:
            return self._disconnect
        return parser_disconnect(cast(int, handshake.sent.code), handshake.sent.reason or "")

    @property
    def _is_closing(self) -> bool:
        return self._closing or self._transport.is_close_frame_sent

    def send_text(self, payload: bytes) -> None:
        if self._direct >= 0 and len(payload) <= PICOWS_SENDS_BYTES:
            self._transport.send(_TEXT, payload)
        else:
            self._send(text_frame(payload))

    def send_binary(self, payload: bytes) -> None:
        self._send(binary_frame(payload))

    def close(self, disconnect: Disconnect) -> None:
        if self._closing:
            return
        if not self._transport.is_close_frame_sent:
            self._disconnect = disconnect
        self.resume_reading()  # or the peer's answer would never be seen
        payload = close_payload(disconnect.close_code, close_reason(disconnect.reason))
        self._say_goodbye(payload, drop=disconnect.drops)

    def abort(self) -> None:
        self._transport.disconnect(graceful=False)

    def _on_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if payload else CloseCode.NO_STATUS
        if payload and not is_sendable_code(code):
            raise DisconnectError(PROTOCOL_ERROR, "invalid close code")
        if not self._closing:
            self._peer_code = code
            self._peer_reason = payload[2:].decode(errors="replace")
            # Echo what came (RFC 6455 section 5.5.1), without what waits: the peer wants no more.
            self._say_goodbye(payload, drop=True)
        self._said_goodbye = True
        self._may_end()

    def _say_goodbye(self, payload: bytes, *, drop: bool) -> None:
        self._closing = True
        self._direct = -1
        self._abort_later()
        if self._transport.is_close_frame_sent:
            return
        if self._outbox is not None:
            self._outbox.is_closing = True
            if drop:
                self._outbox.drop()
            self._append(close_frame(payload))
        elif payload:
            # picows keeps its own close frames to itself after this.
            code: Any = int.from_bytes(payload[:2], "big")
            self._transport.send_close(code, payload[2:].decode(errors="replace"))
        else:
            self._transport.send(_CLOSE, payload)

    def _may_end(self) -> None:
        if self._said_goodbye and self._outbox is None:
            self._transport.disconnect()

    def _abort_later(self) -> None:
        if self._close_timer is None:
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(self._settings.close_timeout_s, self.abort)

    def on_parser_error(self) -> None:
        """Prepare for the close frame that picows is about to write by itself.

        It answers a close frame that stands before the broken one; picows then keeps its own to itself.
        """
        self._direct = -1
        self._abort_later()
        if self._outbox is not None:
            if self._closing:
                self.abort()  # its close frame would come before ours
            self._hand_over()
        handshake = self._transport.close_handshake
        if handshake is not None and handshake.recv is not None and handshake.sent is None:
            code = cast(int, handshake.recv.code) or CloseCode.NORMAL.value
            sendable: Any = code if is_sendable_code(code) else PROTOCOL_ERROR.close_code
            self._transport.send_close(sendable, handshake.recv.reason)

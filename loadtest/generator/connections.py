"""One connection of the load: from dialling to its end, with what every kind of load has in common."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final, Protocol

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport

from loadtest.generator.messages import Counts
from loadtest.generator.owntime import OwnTime
from wscore.codes import CloseCode
from wscore.envelope import decode_data
from wscore.errors import WsctlError
from wscore.jsonvalues import NOT_JSON
from wscore.payloads import ErrorData
from wscore.units import format_size
from wscore.wallclock import now_ms

TEXT: Final = WSMsgType.TEXT
BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_NORMAL: Final = WSCloseCode.OK
MAX_MESSAGE_BYTES: Final = 64 << 20  # in one frame or in several

monotonic_ns = time.monotonic_ns


class Inbound(msgspec.Struct, gc=False, rename="camel"):
    """What the load reads of an envelope; `data` stays raw."""

    type: str
    id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    seq: int | None = None
    room: str | None = None


class Recovery(msgspec.Struct, rename="camel"):
    """Where a session can be resumed, if the server offers that."""

    epoch: str | int | None = None
    seq: int | None = None
    resume_token: str | None = None
    recovered: bool | None = None  # None if no position was asked for


class Interval(msgspec.Struct, rename="camel"):
    """How often the server pings."""

    interval_ms: int


class SessionInfo(msgspec.Struct, rename="camel"):
    """What the load reads of `session_created`."""

    session_id: str = ""
    heartbeat: Interval | None = None
    recovery: Recovery | None = None
    worker: int | None = None  # which of several processes at one port has the connection


decode_envelope: Final = msgspec.json.Decoder(Inbound).decode


def fault_of(payload: bytes) -> str:
    """Return in few words what is wrong with a text that is no envelope."""
    try:
        payload.decode()
        msgspec.json.decode(payload)
    except UnicodeDecodeError:
        return "a text that is not UTF-8"
    except NOT_JSON:
        return "a text that is not JSON"
    return "JSON that is no envelope"


def breach_of(error: Exception) -> str:
    """Return in few words why a connection was ended from here, by what its reader raised."""
    if not isinstance(error, WSProtocolError):
        return f"a message that the load tester cannot read ({type(error).__name__})"
    if error.code is WSCloseCode.MESSAGE_TOO_BIG:
        return f"a message of more than {format_size(MAX_MESSAGE_BYTES)}"
    return "a frame that breaks the WebSocket protocol"


class ConnectionOwner(Protocol):
    """Whom a connection tells what becomes of it."""

    counts: Counts
    own_time: OwnTime

    def met(self, connection: Any) -> None:
        """Say what comes first; the WebSocket is open."""

    def joined(self, connection: Any) -> None:
        """Note that a connection is ready."""

    def ended(self, connection: Any) -> None:
        """Note that a connection is gone."""

    def error(self, text: str) -> None:
        """Note something that the target is to blame for."""


class LoadConnection(WSListener):
    """A connection. Subclasses say what it does once it is `ready`, and what a text means to it."""

    __slots__ = (
        "_error_code",
        "_fragment_bytes",
        "_fragments",
        "_heartbeat_ns",
        "_is_binary",
        "_last_ping_ns",
        "_leaving",
        "_looking",
        "asked",
        "close_code",
        "close_reason",
        "dialled_ns",
        "index",
        "joined_ns",
        "left_ns",
        "seq",
        "session_info",
        "settled",
        "slot",
        "traffic",
        "transport",
    )

    traffic: Any  # a ConnectionOwner; subclasses know which
    transport: WSTransport

    def __init__(
        self, traffic: ConnectionOwner, slot: int, index: int, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.traffic = traffic
        self.slot = slot
        self.index = index
        self.dialled_ns = 0
        self.joined_ns = 0  # 0 until it is ready
        self.left_ns = 0  # 0 while it is there
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason = b""
        self.session_info: SessionInfo | None = None
        self.seq: int | None = None
        self.asked: deque[str] | None = None  # the ids of its requests, where replies carry none
        self.settled: asyncio.Future[None] = (loop or asyncio.get_running_loop()).create_future()  # ready, or gone
        self._error_code = ""
        self._fragments: list[bytes] | None = None
        self._fragment_bytes = 0
        self._heartbeat_ns = 0
        self._last_ping_ns = 0
        self._is_binary = False  # which the fragments are
        self._leaving = False
        self._looking: asyncio.Task[None] | None = None  # at why it ended

    # What subclasses fill in

    def ready(self) -> None:
        """Start: the greeting is there, or none is waited for."""

    def text(self, payload: bytes) -> None:
        """Handle a text."""
        try:
            envelope = decode_envelope(payload)
        except NOT_JSON:
            self.traffic.error(fault_of(payload))
        else:
            self.other(envelope)

    def binary(self, payload: bytes) -> None:
        """Handle what is no text."""
        self.traffic.error("a binary frame")

    def follow(self, before: LoadConnection) -> None:
        """Go on where the connection before in this slot ended; nothing was dialled yet."""

    def resume_fields(self) -> dict[str, str]:
        """Return what the URL of the connection after this one says to resume its session, nothing if it cannot."""
        info = self.session_info
        if info is None or info.recovery is None or info.recovery.resume_token is None:
            return {}
        recovery = info.recovery
        seq = self.seq if self.seq is not None else recovery.seq or 0
        fields = {"sessionId": info.session_id, "epoch": recovery.epoch, "seq": seq, "resume": recovery.resume_token}
        return {name: str(value) for name, value in fields.items()}

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.traffic.met(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is TEXT and frame.fin:
            self.text(frame.get_payload_as_bytes())
        else:
            self.unusual(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.left_ns = monotonic_ns()
        if self.joined_ns:
            self._count_missed()
        self._settle()
        self.traffic.ended(self)
        if self.close_code == CloseCode.ABNORMAL:
            self._looking = asyncio.get_running_loop().create_task(self._breach(transport))

    async def _breach(self, transport: WSTransport) -> None:
        """Name what the target did where this side ended the connection for it."""
        try:
            await transport.wait_disconnected()
        except Exception as error:  # whatever a reader raises is kept for whoever waits here
            if not self._leaving:
                self.traffic.error(breach_of(error))

    # What is the same for all

    @property
    def is_open(self) -> bool:
        """Whether it is ready and not gone."""
        return self.joined_ns != 0 and self.left_ns == 0

    @property
    def is_resumed(self) -> bool:
        """Whether the server has said that it goes on where the one before it ended."""
        info = self.session_info
        return info is not None and info.recovery is not None and bool(info.recovery.recovered)

    @property
    def is_leaving(self) -> bool:
        """Whether this side ended it."""
        return self._leaving

    @property
    def refusal(self) -> str:
        """The code of the last error that the server sent."""
        return self._error_code

    def close(self) -> None:
        """End it the proper way; nothing is counted as lost."""
        self._leaving = True
        if self.left_ns == 0:
            self.transport.send_close(_NORMAL)
            self.transport.disconnect()

    def cut(self) -> None:
        """End it at once, as a broken network does."""
        self._leaving = True
        self.transport.disconnect(graceful=False)

    def other(self, envelope: Inbound) -> None:
        """Handle what every kind of load gets: greeting, server pings and errors."""
        match envelope.type:
            case "ping":
                self._on_ping()
            case "session_created":
                self._on_created(envelope)
            case "error":
                self._on_error(envelope)
            case _:
                if envelope.seq is not None:
                    self.seq = envelope.seq

    def unusual(self, frame: WSFrame) -> None:
        """Handle what is no whole text: binary frames, fragments, pings and close frames."""
        kind = frame.msg_type
        payload = frame.get_payload_as_bytes()
        if kind is _CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") if payload else CloseCode.NO_STATUS
            self.close_reason = payload[2:]
            self.transport.send(_CLOSE, payload[:2])
            self.transport.disconnect()
        elif kind is BINARY and frame.fin:
            self.binary(payload)
        elif kind is TEXT or kind is BINARY:
            self._fragments, self._is_binary = [payload], kind is BINARY
            self._fragment_bytes = len(payload)
        elif kind is _CONTINUATION and self._fragments is not None:
            self._fragments.append(payload)
            self._fragment_bytes += len(payload)
            if self._fragment_bytes > MAX_MESSAGE_BYTES:
                self._fragments = None
                raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "too many fragments")
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), None
                (self.binary if self._is_binary else self.text)(whole)

    def _on_created(self, envelope: Inbound) -> None:
        if self.session_info is not None:
            self.traffic.error("session_created came twice")
            return
        try:
            self.session_info = decode_data(envelope.data, SessionInfo)
        except WsctlError:
            self.traffic.error("session_created is malformed")
            self.session_info = SessionInfo()
        self._last_ping_ns = self.traffic.own_time.at(monotonic_ns())
        if self.session_info.heartbeat is not None:
            self._heartbeat_ns = self.session_info.heartbeat.interval_ms * 1_000_000
        self.greeted()

    def greeted(self) -> None:
        """Begin: it is a connection from now on, unless nobody waits for it any more."""
        if self._leaving:
            return
        self.joined_ns = monotonic_ns()
        self._settle()
        self.traffic.joined(self)
        self.ready()

    def refuse(self, reason: str) -> None:
        """End it, since the target does not want it."""
        self._error_code = reason
        if self.joined_ns:
            self.traffic.error(reason)
        self.transport.disconnect()

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def _on_ping(self) -> None:
        self._last_ping_ns = self._count_missed()
        milliseconds = now_ms()
        self.transport.send(
            TEXT, b'{"type":"pong","timestamp":%d,"data":{"timestamp":%d}}' % (milliseconds, milliseconds)
        )

    def _on_error(self, envelope: Inbound) -> None:
        try:
            self._error_code = str(decode_data(envelope.data, ErrorData).code)
        except WsctlError:
            self._error_code = "error without a known code"
        if self.joined_ns:  # before that the failed connection is what counts
            self.traffic.error(self._error_code)

    def count_missed(self) -> None:
        """Count the server's pings that should have come by now."""
        if self.is_open:
            self._count_missed()

    def _count_missed(self) -> int:
        now_ns: int = self.traffic.own_time.at(monotonic_ns())
        if self._heartbeat_ns:
            # The first one comes at the connection's own phase within an interval; half of one is tolerance.
            missed = (now_ns - self._last_ping_ns - self._heartbeat_ns // 2) // self._heartbeat_ns
            if missed > 0:
                self.traffic.counts.heartbeats_missed += missed
                self._last_ping_ns = now_ns
        return now_ns

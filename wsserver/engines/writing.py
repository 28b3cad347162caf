"""The way out of both engines: one ordered path for everything that a connection writes (design sections 5 and 6).

While nothing waits, frames go past the transport to the descriptor: the transport's own write costs a tenth of a
fan-out. What the socket does not take waits in the connection's outbox, and of that the transport gets a small piece
at a time: when the piece is gone it calls `resume_writing`, and there is room for more. So a transport never holds
much, and it holds something whenever there is an outbox.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from wscore.disconnects import INTERNAL_ERROR, SLOW_CONSUMER, Disconnect, disconnect_of
from wscore.frames import pong_frame, text_frame
from wsserver.engines.base import Gateway
from wsserver.outbound.backlog import Backlog
from wsserver.outbound.outbox import Chunk, Outbox
from wsserver.telemetry.logs import EventLog

PLAIN_PIECE_BYTES: Final = 4 << 10
TLS_PIECE_BYTES: Final = 16 << 10  # a TLS record
# asyncio's TLS takes this much before it says that it waits.
TLS_HELD_BYTES: Final = (64 << 10) + TLS_PIECE_BYTES
# Written to one connection in one go, so that one that catches up leaves the others their turns.
FEED_BYTES: Final = 1 << 20


class WritingSide:
    """What the connections of both engines share; the subclass has the slots for the attributes."""

    if not TYPE_CHECKING:  # which would take them for all that there are
        __slots__ = ()

    _backlog: Backlog
    _connection: Any
    _disconnect: Disconnect | None  # why the server closes, once it does
    _gateway: Gateway[Any]
    _log: EventLog
    _outbox: Outbox | None  # exists while anything waits, be it in the transport alone
    _raw: asyncio.Transport
    _descriptor: int  # -1 where bytes may not go past the transport
    _is_held: bool  # whether the peer is not read
    _direct: int  # the descriptor while nothing waits and frames go out as they are, else -1

    @property
    def _is_closing(self) -> bool:
        """Whether a close frame was sent or has to wait: what the server sends after it is ignored."""
        raise NotImplementedError

    def close(self, disconnect: Disconnect) -> None:
        """Start the closing handshake, see `Channel`."""
        raise NotImplementedError

    def abort(self) -> None:
        """Drop the TCP connection."""
        raise NotImplementedError

    def _fail(self, error: Exception) -> None:
        """Close because of an exception: one that names no disconnect is a fault of the server."""
        disconnect = disconnect_of(error).disconnect
        if disconnect is INTERNAL_ERROR:
            self._log.failure("connection.failed", error)
        self.close(disconnect)

    def _encode(self, frames: bytes) -> bytes:
        """Return frames in the form in which this connection sends them."""
        return frames

    @property
    def _encodes(self) -> bool:
        """Whether that form is another one."""
        return False

    def _may_end(self) -> None:
        """Do what is left to do once everything is written: nothing, unless a close waited for that."""

    @property
    def descriptor(self) -> int:
        """The file descriptor of the connection; -1 once it is closed."""
        descriptor: int = self._raw.get_extra_info("socket").fileno()
        return descriptor

    @property
    def unread(self) -> int:
        """How many bytes wait for the peer to read."""
        return 0 if self._outbox is None else self._outbox.size

    def pause_reading(self) -> None:
        """Stop reading from the peer."""
        self._is_held = True
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._is_held = False
        if not self._raw.is_closing():
            self._raw.resume_reading()

    @property
    def is_read(self) -> bool:
        """Whether the peer is read."""
        return not self._is_held

    def _start_writing(self, transport: asyncio.Transport) -> None:
        """Begin: the handshake is done."""
        self._raw = transport
        self._disconnect = None
        self._is_held = False
        self._outbox = None
        # From the first byte that the transport holds on it says so. TLS would say it at 0 bytes too, if they were 0.
        is_secure = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=1 if is_secure else 0, low=0)
        self._descriptor = -1
        if not is_secure and sys.platform != "win32":
            self._descriptor = transport.get_extra_info("socket").fileno()
        self._direct = -1 if self._encodes else self._descriptor

    def _stop_writing(self) -> None:
        """End: the connection is lost, and its descriptor will be another one's."""
        self._direct = -1
        if self._outbox is not None:
            self._backlog.shut(self._outbox)
            self._outbox = None

    def write(self, frames: bytes) -> int:
        """Write ready-made frames; returns how many bytes at their end were not taken, see `Channel`."""
        if self._direct >= 0:
            try:
                return len(frames) - os.write(self._direct, frames)
            except OSError:
                return len(frames)  # the socket is full or broken: the transport finds out which
        if self._is_closing:
            return 0
        if self._outbox is None and len(frames) <= TLS_PIECE_BYTES:
            self._raw.write(self._encode(frames))
            return 0
        return len(frames)

    def keep(self, chunks: Sequence[Chunk], left: int) -> bool:
        """Let the last `left` bytes of `chunks` wait; returns whether none were refused, see `Channel`."""
        was_full = self._direct >= 0
        outbox = self._outbox
        is_new = outbox is None
        if outbox is None:
            outbox = self._wait()
        gone = sum([len(chunk.data) for chunk in chunks]) - left
        is_kept = True
        for chunk in chunks:
            if gone >= len(chunk.data):
                gone -= len(chunk.data)
                continue
            is_kept = self._backlog.add(outbox, chunk, gone) and is_kept
            if outbox.is_closing:
                is_kept = False
                break
            gone = 0
        if is_new:
            self._feed(is_full=was_full)
        return is_kept

    def too_slow(self) -> None:
        """Have the connection closed with 4003: what waits for it is too much or too old."""
        if self._connection is None:
            self.close(SLOW_CONSUMER)
        else:
            self._gateway.slow(self._connection)

    def pause_writing(self) -> None:
        """Note that the transport holds something: from now on everything else has to wait."""
        if self._outbox is None and not self._raw.is_closing():  # TLS says so of its own goodbye too
            self._wait()

    def resume_writing(self) -> None:
        """Note that the transport holds nothing any more."""
        if self._outbox is not None:
            self._feed()

    def _send(self, frames: bytes) -> None:
        """Write frames of this connection alone."""
        left = self.write(frames)
        if left:
            self.keep((self._backlog.chunk(frames),), left)

    def send_text(self, payload: bytes) -> None:
        """Send one text message."""
        self._send(text_frame(payload))

    def _answer_ping(self, payload: bytes) -> None:
        """Send a pong; for a peer that does not read they would only pile up."""
        if self._outbox is None or self._gateway.holds_back:
            self._append(pong_frame(payload))

    def _append(self, frame: bytes) -> None:
        """Write a control frame in its place; the limits are not for it."""
        if self._outbox is None:
            self._raw.write(frame)
        else:
            self._outbox.append(self._backlog.chunk(frame))

    def _hand_over(self) -> None:
        """Give the transport the rest of a chunk that has begun, for a frame that is not ours to write to follow."""
        outbox = self._outbox
        if outbox is not None:
            outbox.drop()
            if not outbox.is_empty:
                rest = bytes(outbox.rest())
                outbox.advance(len(rest))
                self._raw.write(rest)

    def _wait(self) -> Outbox:
        held_bytes = PLAIN_PIECE_BYTES if self._descriptor >= 0 else TLS_HELD_BYTES
        holds_back = self._gateway.holds_back
        outbox = self._outbox = self._backlog.open(self, held_bytes, is_limited=not holds_back)
        outbox.is_closing = self._is_closing
        self._direct = -1
        if holds_back:
            self.pause_reading()
        return outbox

    def _feed(self, *, is_full: bool = False) -> None:
        """Write what waits until the peer takes no more; `is_full` says that the socket took none a moment ago."""
        outbox = self._outbox
        if outbox is None:
            return
        room = FEED_BYTES
        while not outbox.is_empty:
            if room <= 0:
                asyncio.get_running_loop().call_soon(self._feed)
                return
            if self._encodes and not outbox.has_begun:
                self._encode_head(outbox)
            rest = outbox.rest()
            if self._descriptor >= 0 and not is_full:
                written = self._write_past(rest)
                room -= written
                if written:
                    outbox.advance(written)
                if written == len(rest):
                    continue
                rest = rest[written:]
            is_full = False
            piece = bytes(rest[: PLAIN_PIECE_BYTES if self._descriptor >= 0 else TLS_PIECE_BYTES])
            head = outbox.head
            outbox.since_s, outbox.front_is_lossy = head.born_s, head.lossy > 0
            outbox.advance(len(piece))
            room -= len(piece)
            self._raw.write(piece)
            if self._raw.get_write_buffer_size():
                return
        self._written(outbox)

    def _write_past(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError:
            return 0

    def _encode_head(self, outbox: Outbox) -> None:
        head = outbox.head
        encoded = self._encode(head.data)
        if encoded is not head.data:
            outbox.replace_head(Chunk(encoded, head.born_s, lossy=head.lossy))

    def _written(self, outbox: Outbox) -> None:
        self._backlog.shut(outbox)
        self._outbox = None
        if self._is_closing:
            self._may_end()
            return
        self._direct = -1 if self._encodes else self._descriptor
        if self._gateway.holds_back:
            self.resume_reading()

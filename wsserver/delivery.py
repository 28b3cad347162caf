"""Outbound messages: to one connection, or framed once, joined once and written once to a session (design section 5).

Frames for a session gather during one turn of the event loop; at its end each connection gets one write. A
message for one connection that comes between keeps its place. A connection whose peer does not read is held to
the outbound limits; nobody else is looked at (design section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from wscore.codes import CloseCode
from wscore.frames import text_frame
from wsserver.connections import Connection, Session
from wsserver.counters import Counters

# Between two turns of the loop a session may gather this much before it is written out ahead of time.
MAX_PENDING_MESSAGES: Final = 4096


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """What one slow reader may cost: bytes waiting in the process, and seconds it may stand still."""

    max_bytes: int = 1 << 20
    max_age_s: float = 5.0


class Delivery:
    """Sends to one and broadcasts to a session.

    `call_soon` runs a function at the end of the current loop turn, `now_s` is the monotonic clock.
    """

    __slots__ = ("_call_soon", "_counters", "_dirty", "_limits", "_now_s")

    def __init__(
        self,
        limits: OutboundLimits,
        counters: Counters,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        now_s: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._call_soon = call_soon
        self._now_s = now_s
        self._dirty: list[Session] = []

    def send(self, connection: Connection, payload: bytes, *, lossy: bool = False) -> bool:
        """Send one message to one connection; returns whether the connection was open to take it."""
        if not connection.is_open:
            return False
        pending = connection.session.pending
        if pending:
            if connection.private is None:
                connection.private = []
            connection.private.append((len(pending), payload))
            return True
        if connection.paused_at_s is not None and self._over_limit(connection, len(payload)):
            return self._refuse(connection, lossy)
        connection.channel.send_text(payload)
        return True

    def broadcast(self, session: Session, payload: bytes, *, lossy: bool = False) -> None:
        """Send one message to every connection that the session holds now."""
        pending = session.pending
        if not pending:
            if not self._dirty:
                self._call_soon(self._flush_all)
            self._dirty.append(session)
        if lossy:
            session.lossy.add(len(pending))
        pending.append(payload)
        if len(pending) >= MAX_PENDING_MESSAGES:
            self.flush(session)

    def flush(self, session: Session) -> None:
        """Write out what a session has gathered, as before one joins, leaves or is closed."""
        payloads, session.pending = session.pending, []
        if not payloads:
            return
        lossy, session.lossy = session.lossy, set()
        frames = b"".join(map(text_frame, payloads))
        for connection in tuple(session.connections.values()):
            if connection.private is None and connection.paused_at_s is None:
                connection.channel.send_frames(frames, payloads)
            else:
                self._write_own(connection, payloads, lossy)

    def close(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection after what was sent to it before; a second call does nothing."""
        if connection.is_open:
            self.flush(connection.session)
        if connection.is_open:
            connection.is_open = False
            connection.close_code = code
            connection.channel.close(code, reason)

    def _flush_all(self) -> None:
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            self.flush(session)

    def _write_own(self, connection: Connection, payloads: Sequence[bytes], lossy: set[int]) -> None:
        """Write a batch that only this connection gets: with its private messages, or cut to its limits."""
        private, connection.private = connection.private or [], None
        if not connection.is_open:
            return
        if connection.paused_at_s is not None:
            size = sum(map(len, payloads)) + sum(len(payload) for _, payload in private)
            if self._over_limit(connection, size):
                self._counters.messages_dropped += len(lossy)
                if private or len(lossy) < len(payloads):
                    self._close_slow(connection)
                return
        batch: list[bytes] = []
        start = 0
        for position, payload in private:
            batch += payloads[start:position]
            batch.append(payload)
            start = position
        batch += payloads[start:]
        connection.channel.send_frames(b"".join(map(text_frame, batch)), batch)

    def _over_limit(self, connection: Connection, size: int) -> bool:
        assert connection.paused_at_s is not None
        return (
            connection.channel.buffered_bytes() + size > self._limits.max_bytes
            or self._now_s() - connection.paused_at_s > self._limits.max_age_s
        )

    def _refuse(self, connection: Connection, lossy: bool) -> bool:
        if lossy:
            self._counters.messages_dropped += 1
        else:
            self._close_slow(connection)
        return False

    def _close_slow(self, connection: Connection) -> None:
        # Not through close(): it would flush, and what waits for this connection is the problem.
        self._counters.slow_consumers += 1
        connection.is_open = False
        connection.close_code = CloseCode.SLOW_CONSUMER
        connection.channel.close(CloseCode.SLOW_CONSUMER, "Outbound limit passed")

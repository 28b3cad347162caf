"""Everything that waits for slow readers: counted in bytes, watched by time, and bounded (design section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wscore.errors import ConfigError
from wscore.units import format_size
from wsserver.outbound.memory import Held
from wsserver.outbound.outbox import Chunk, Outbox, Writer
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Drop, Metrics

OUTBOUND_PER_CONNECTION: Final = 1 << 20
OUTBOUND_IN_ALL: Final = 256 << 20
# What an outbox takes by itself: its objects, and what the event loop keeps for a write under way.
OUTBOX_BYTES: Final = 2048
# Beyond a limit that a burst has passed there is room for this much more, as for a reply or a heartbeat.
SLACK_BYTES: Final = 64 << 10
TICK_S: Final = 0.25
# What a burst left is closed unless it shrinks within this time.
BURST_S: Final = 1.0
LOG_S: Final = 1.0


def outbound_per_connection(in_all: int) -> int:
    """Return what may wait for one connection where nobody chose: never so much that four could fill all."""
    return min(OUTBOUND_PER_CONNECTION, in_all // 4)


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """How many bytes may wait for one client and for all to read, and for how long; raises ConfigError."""

    per_connection: int = OUTBOUND_PER_CONNECTION
    max_age_s: float = 5.0
    in_all: int = OUTBOUND_IN_ALL

    def __post_init__(self) -> None:
        if not 0 < self.per_connection <= self.in_all:
            problem = f"must be more than nothing and at most --max-outbound-memory, {format_size(self.in_all)}"
            raise ConfigError("--max-outbound-per-connection", problem)

    def check(self, max_message_bytes: int) -> None:
        """Raise ConfigError unless there is room for messages of that size."""
        if self.in_all < 2 * max_message_bytes:
            size = format_size(max_message_bytes)
            raise ConfigError(
                "--max-outbound-memory",
                f"{format_size(self.in_all)} are too little for messages of {size}",
                f"allow twice {size}, or lower --max-message-size",
            )


class Backlog(Held):
    """The outboxes of a server and the limits on them; what is `used` is what waits, a shared chunk once.

    One message may always wait, whatever its size: a reader that reads gets it. Beyond that a connection is closed
    whose peer lets more than `per_connection` wait. What one turn of the loop broadcasts may exceed that, since nobody
    had a chance to read in between and it is held once for all, if it grows no further and shrinks from then on.

    `call_later` calls a function after some seconds, `now_s` is the monotonic clock.
    """

    __slots__ = (
        "_call_later",
        "_dropped",
        "_due_s",
        "_limits",
        "_log",
        "_logged_at_s",
        "_now_s",
        "_outboxes",
        "_ticking",
        "_was_late",
        "peak",
        "turn",
        "used",
    )

    def __init__(
        self,
        limits: OutboundLimits,
        metrics: Metrics,
        *,
        call_later: Callable[[float, Callable[[], None]], object],
        now_s: Callable[[], float],
        log: EventLog,
    ) -> None:
        self._limits = limits
        self._dropped = metrics.dropped[Drop.SLOW_READER]
        self._call_later = call_later
        self._now_s = now_s
        self._log = log
        self._logged_at_s = now_s() - LOG_S
        self._outboxes: dict[Outbox, None] = {}  # in the order in which they began to wait
        self.used = self.peak = 0
        self._ticking = self._was_late = False
        self._due_s = 0.0
        self.turn = 1

    @property
    def readers(self) -> int:
        """How many connections something waits for."""
        return len(self._outboxes)

    def chunk(self, frames: bytes, *, lossy: int = 0, turn: int = 0) -> Chunk:
        """Make a chunk of whole frames that begins to wait now."""
        return Chunk(frames, self._now_s(), lossy=lossy, turn=turn)

    def open(self, writer: Writer, held_bytes: int, *, is_limited: bool) -> Outbox:
        """Begin a queue for a connection whose transport keeps up to `held_bytes` while it waits.

        One that is not limited counts towards all of them only: its peer is not read while it does not read.
        """
        outbox = Outbox(self, writer, self._now_s(), held_bytes + OUTBOX_BYTES, is_limited=is_limited)
        self._outboxes[outbox] = None
        self.rise(outbox.held_bytes)
        self._tick_later()
        return outbox

    def shut(self, outbox: Outbox) -> None:
        """End a queue: it is empty, or its connection is gone."""
        if outbox in self._outboxes:
            del self._outboxes[outbox]
            outbox.clear()
            self.used -= outbox.held_bytes

    def add(self, outbox: Outbox, chunk: Chunk, start: int = 0) -> bool:
        """Let a chunk wait within the limits, without its first `start` bytes; returns whether it does."""
        if not outbox.is_empty and outbox.is_limited and self._is_over(outbox, chunk):
            if chunk.lossy:
                self._dropped.value += chunk.lossy
                return False
            self._dropped.value += outbox.drop_lossy(math.inf)
            if self._is_over(outbox, chunk):
                outbox.writer.too_slow()
                return False
        if outbox.is_empty:
            outbox.turn = self.turn
            outbox.ceiling = max(self._limits.per_connection, chunk.size - start + SLACK_BYTES)
        outbox.append(chunk, start)
        if self.used > self._limits.in_all:
            self._shed()
        return True

    def hold(self, chunk: Chunk) -> None:
        """Note that one more outbox holds a chunk."""
        chunk.holders += 1
        if chunk.holders == 1:
            self.rise(chunk.size)

    def release(self, chunk: Chunk) -> None:
        """Note that an outbox let go of a chunk."""
        chunk.holders -= 1
        if not chunk.holders:
            self.used -= chunk.size

    def _is_over(self, outbox: Outbox, chunk: Chunk) -> bool:
        limit = self._limits.per_connection
        size = outbox.size + chunk.size
        if size <= limit:
            return False
        if not chunk.turn and outbox.own_behind_head + chunk.size > limit:
            return True
        if outbox.turn == self.turn:
            outbox.ceiling = max(outbox.ceiling, size + SLACK_BYTES)
        else:
            outbox.ceiling = max(limit, min(outbox.ceiling, outbox.size + SLACK_BYTES))
        return size > outbox.ceiling

    def _shed(self) -> None:
        """Close the worst readers until the rest is within the limit on all."""
        used, closed = self.used, 0
        for outbox in sorted(self._outboxes, key=lambda outbox: (-outbox.size, outbox.since_s)):
            if not outbox.is_closing:
                outbox.writer.too_slow()
                closed += 1
            if self.used > self._limits.in_all:  # what has begun and what the transport holds counts too
                outbox.writer.abort()
                self.shut(outbox)
            if self.used <= self._limits.in_all:
                break
        now_s = self._now_s()
        if now_s - self._logged_at_s >= LOG_S:
            self._logged_at_s = now_s
            self._log.warning("outbound.full", used=used, closed=closed)

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._due_s = self._now_s() + TICK_S
            self._call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now_s = self._now_s()
        # After a stall of the loop nobody had a chance to read: there is one until the next tick.
        self._was_late = not self._was_late and now_s - self._due_s > TICK_S
        if not self._was_late:
            for outbox in tuple(self._outboxes):
                self._judge(outbox, now_s)
        if self._outboxes:
            self._tick_later()

    def _judge(self, outbox: Outbox, now_s: float) -> None:
        if outbox.is_closing or not outbox.is_limited:
            return
        oldest_s = now_s - self._limits.max_age_s
        if outbox.since_s < oldest_s:
            if outbox.front_is_lossy:
                self._dropped.value += outbox.drop_lossy(oldest_s)
            if not outbox.front_is_lossy or any(chunk.born_s < oldest_s and not chunk.lossy for chunk in outbox):
                outbox.writer.too_slow()
        elif outbox.size <= self._limits.per_connection:
            outbox.shrunk_to = 0
        elif not outbox.shrunk_to or outbox.size < outbox.shrunk_to:
            outbox.shrunk_to, outbox.shrunk_s = outbox.size, now_s
        elif now_s - outbox.shrunk_s >= BURST_S:
            outbox.writer.too_slow()

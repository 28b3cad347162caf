"""How the connection does: round trips, rates both ways, state and how it ended last; numbers only, no widgets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from wsclient.handshake import Handshake
from wscore.payloads import SessionCreated

KEPT_ROUND_TRIPS: Final = 300
KEPT_SECONDS: Final = 60


class Meter:
    """Messages and bytes in one direction, with the rate over the last full second."""

    __slots__ = ("_at_second", "bytes", "bytes_per_s", "history", "messages", "messages_per_s")

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.messages_per_s = self.bytes_per_s = 0
        self.history: deque[int] = deque(maxlen=KEPT_SECONDS)
        self._at_second = (0, 0)

    def count(self, size_bytes: int) -> None:
        """Count one message."""
        self.messages += 1
        self.bytes += size_bytes

    def tick(self) -> None:
        """Close a second."""
        messages, size = self._at_second
        self.messages_per_s, self.bytes_per_s = self.messages - messages, self.bytes - size
        self._at_second = (self.messages, self.bytes)
        self.history.append(self.messages_per_s)


class Health:
    """How the connection does; times in ms, `reconnect_at_ms` on the wall clock.

    `handshakes` are those of the last try: more than one where the server redirects.
    """

    def __init__(self) -> None:
        self.sent = Meter()
        self.received = Meter()
        self.round_trips_ms: deque[float] = deque(maxlen=KEPT_ROUND_TRIPS)
        self.session: SessionCreated | None = None
        self.state = "not connected"
        self.problem = ""
        self.reconnect_at_ms: int | None = None
        self.handshakes: list[Handshake] = []

    def take_handshake(self, handshake: Handshake) -> None:
        """Note a handshake; one that follows a redirect belongs to that."""
        if not (self.handshakes and self.handshakes[-1].is_redirected):
            self.handshakes.clear()
        self.handshakes.append(handshake)

    def tick(self) -> None:
        """Close a second."""
        self.sent.tick()
        self.received.tick()


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the nearest-rank percentile, or None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * percent // 100) - 1).__int__())]

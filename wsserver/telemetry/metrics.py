"""What a server has done since it started, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the start."""

    connections_opened: int = 0
    connections_refused: int = 0
    connections_over_rate: int = 0
    handshakes_dropped: int = 0
    handshakes_timed_out: int = 0
    proxy_headers_refused: int = 0
    messages_in: int = 0
    messages_invalid: int = 0
    messages_dropped: int = 0
    messages_limited: int = 0
    messages_unhandled: int = 0
    messages_refused: int = 0
    messages_abandoned: int = 0
    handlers_failed: int = 0
    handlers_cancelled: int = 0
    tasks_failed: int = 0
    slow_consumers: int = 0
    heartbeat_timeouts: int = 0
    stalls: int = 0

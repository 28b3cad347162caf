"""When and whether a client comes back: pure decisions from a close code, an attempt count and a random number."""

from __future__ import annotations

from msgspec import Struct

from wscore.codes import Action, close_action


class ReconnectPolicy(Struct, frozen=True):
    """Full jitter: a random delay between 0 and min(cap, base * 2**attempt), all in ms."""

    base_ms: int = 500
    cap_ms: int = 30_000
    max_attempts: int | None = None

    def delay_ms(self, attempt: int, random: float, retry_after_ms: int = 0) -> int:
        """Return how long to wait before attempt number `attempt` (from 0).

        `random` is in [0, 1). A server that named `retry_after_ms` is not disturbed earlier than that.
        """
        ceiling = min(self.cap_ms, self.base_ms * 2 ** min(attempt, 32))
        return retry_after_ms + int(random * ceiling)

    def may_retry(self, close_code: int, attempt: int) -> bool:
        """Tell whether to reconnect at all after `close_code`; a fresh token is asked for every time."""
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return False
        return close_action(close_code) is not Action.STOP

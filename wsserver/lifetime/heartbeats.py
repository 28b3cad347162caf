"""The server's tick: it turns the wheel, pings who is due and closes who is gone (design section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from wscore.heartbeat import HeartbeatPolicy
from wsserver.connections.state import Connection
from wsserver.lifetime.wheel import HeartbeatWheel, Pace
from wsserver.telemetry.stalls import StallWatch


class Heartbeats:
    """Ticks from `start` to `stop`, and at each tick makes some more calls; `now_s` is the monotonic clock."""

    __slots__ = ("_also", "_now_s", "_pace", "_ping", "_policy", "_reap", "_stalls", "_timer", "_wheel")

    def __init__(
        self,
        policy: HeartbeatPolicy,
        wheel: HeartbeatWheel,
        *,
        ping: Callable[[Iterable[Connection]], None],
        reap: Callable[[Connection], None],
        also: Sequence[Callable[[], None]],
        stalls: StallWatch,
        now_s: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._wheel = wheel
        self._ping = ping
        self._reap = reap
        self._also = also
        self._stalls = stalls
        self._now_s = now_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to tick on the running loop."""
        now_s = self._now_s()
        self._pace = Pace(self._policy, self._wheel.tick_s, now_s)
        self._stalls.start(self._pace.due_s)
        self._schedule(now_s)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._stalls.stop()

    def _schedule(self, now_s: float) -> None:
        delay_s = max(0.0, self._pace.due_s - now_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now_s = self._now_s()
        ticks = self._pace.ticks(now_s)
        if ticks:
            self._stalls.tick(now_s, self._pace.due_s)
        pinged: list[Connection] = []
        for _ in range(ticks):
            gone, due = self._wheel.advance()
            for connection in gone:
                self._reap(connection)
            pinged += due
        if pinged:
            self._ping(pinged)
        for call in self._also:
            call()
        self._schedule(now_s)

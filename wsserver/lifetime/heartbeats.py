"""Liveness: a tick that turns the wheel, pings who is due and closes who is gone; and the pongs (design section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from wscore.disconnects import HEARTBEAT_TIMEOUT
from wscore.envelope import Envelope, MessageProtocol
from wscore.heartbeat import HeartbeatPolicy
from wscore.payloads import Timestamp
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection
from wsserver.lifetime.router import MessageRouter
from wsserver.lifetime.wheel import HeartbeatWheel, Pace
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.metrics import Metrics
from wsserver.telemetry.stalls import StallWatch


class Heartbeats:
    """Ticks from `start` to `stop`, and at each tick makes some more calls."""

    __slots__ = (
        "_also",
        "_clock",
        "_delivery",
        "_pace",
        "_pings",
        "_policy",
        "_pongs",
        "_protocol",
        "_stalls",
        "_timer",
        "wheel",
    )

    def __init__(
        self,
        policy: HeartbeatPolicy,
        protocol: MessageProtocol,
        delivery: Delivery,
        *,
        also: Sequence[Callable[[], None]],
        stalls: StallWatch,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._protocol = protocol
        self._delivery = delivery
        self._also = also
        self._stalls = stalls
        self._clock = clock
        self._pings = metrics.sent["ping"]
        self._pongs = metrics.sent["pong"]
        self._timer: asyncio.TimerHandle | None = None
        self.wheel = HeartbeatWheel(policy)

    def register(self, router: MessageRouter) -> None:
        """Put `ping` and `pong` into the table."""
        router.register("ping", self._answer)
        router.register("pong", lambda connection, envelope, frame_bytes: None)  # its arrival was the sign of life

    def start(self) -> None:
        """Start to tick on the running loop."""
        now_s = self._clock.now_s()
        self._pace = Pace(self._policy, self.wheel.tick_s, now_s)
        self._stalls.start(self._pace.due_s)
        self._schedule(now_s)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._stalls.stop()

    def _answer(self, connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
        pong = self._protocol.serialize_pong(connection.session.name, envelope.id)
        if self._delivery.send(connection, pong):
            self._pongs.value += 1
            self._pongs.octets += len(pong)

    def _schedule(self, now_s: float) -> None:
        delay_s = max(0.0, self._pace.due_s - now_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now_s = self._clock.now_s()
        ticks = self._pace.ticks(now_s)
        if ticks:
            self._stalls.tick(now_s, self._pace.due_s)
        pinged: list[Connection] = []
        for _ in range(ticks):
            gone, due = self.wheel.advance()
            for connection in gone:
                self._reap(connection)
            pinged += due
        if pinged:
            self._ping(pinged)
        for call in self._also:
            call()
        self._schedule(now_s)

    def _ping(self, due: Iterable[Connection]) -> None:
        """Send the heartbeat to everyone due at this tick; one frame serves them all."""
        data = Timestamp(self._clock.now_ms())
        payload = self._protocol.serialize(self._protocol.create_envelope("ping", data))
        sent = sum(self._delivery.send(connection, payload) for connection in due)
        self._pings.add(len(payload), sent)

    def _reap(self, connection: Connection) -> None:
        """Close a connection that gave no sign of life in time."""
        if not connection.is_open:
            return
        if connection.handlers is not None and connection.handlers.excuses_silence():
            connection.last_seen_s = self.wheel.now_s  # we did not read it, so it could not give one
            return
        self._delivery.close(connection, HEARTBEAT_TIMEOUT)

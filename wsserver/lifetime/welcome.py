"""What a newcomer gets: the state of its connection, and its greeting `session_created`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wscore.payloads import Heartbeat, Limits, SessionCreated, SessionRecovery
from wscore.principal import Principal
from wsserver.connections.ratelimits import RatePolicy
from wsserver.connections.state import Connection, Group
from wsserver.engines.channel import Channel
from wsserver.telemetry.clock import Clock


@dataclass(frozen=True, slots=True)
class Welcome:
    """Makes both, from what is the same for everyone; `new_id` supplies unguessable ids.

    `worker` is the number of this process among those that serve one port, None where it is the only one.
    """

    heartbeat: Heartbeat
    limits: Limits
    rates: RatePolicy
    clock: Clock
    new_id: Callable[[], str]
    worker: int | None

    def connection(
        self, principal: Principal, session: Group, channel: Channel, client_ip: str | None, last_seen_s: float
    ) -> Connection:
        """Return the state of a new connection; `last_seen_s` is the heartbeat wheel's time."""
        return Connection(
            self.new_id(),
            principal,
            session,
            channel,
            client_ip=client_ip,
            created_at_ms=self.clock.now_ms(),
            now_s=last_seen_s,
            limiter=self.rates.limiter(self.clock.now_s()),
        )

    def greeting(self, connection: Connection, recovery: SessionRecovery | None) -> SessionCreated:
        """Return the data of its `session_created`."""
        principal = connection.principal
        return SessionCreated(
            connection.session_id,
            principal.user_id,
            principal.is_guest,
            connection.id,
            self.heartbeat,
            self.limits,
            recovery,
            self.worker,
        )

"""Token expiry while connected: a warning ahead, a refresh in place, then 4001 (design section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from wscore.codes import ErrorCode
from wscore.disconnects import TOKEN_EXPIRED
from wscore.envelope import Envelope, InvalidMessageError, decode_data
from wscore.payloads import AuthRefresh, AuthRefreshed
from wscore.principal import AuthError
from wsserver.connections.delivery import Delivery
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection
from wsserver.handshake.authentication import AuthenticationHandler
from wsserver.lifetime.router import MessageRouter
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.metrics import Metrics

WARN_AHEAD_MS: Final = 30_000
MAX_SLEEP_MS: Final = 24 * 60 * 60 * 1000  # what every event loop can wait for
CLOCK_SLACK_MS: Final = 1000  # the timer runs on another clock than the expiry


class Timer(Protocol):
    """A scheduled call that can be cancelled, such as asyncio's TimerHandle."""

    def cancel(self) -> None:
        """Forget the call."""


class ExpiryWatch:
    """Watches each connection's expiry by the wall clock; `call_later` takes seconds of the monotonic one."""

    __slots__ = (
        "_auth_failures",
        "_authentication",
        "_call_later",
        "_clock",
        "_connections",
        "_delivery",
        "_lead_ms",
        "_now_ms",
        "_sender",
        "_timers",
        "on_refresh",
    )

    def __init__(
        self,
        authentication: AuthenticationHandler,
        connections: ConnectionManager,
        sender: EnvelopeSender,
        delivery: Delivery,
        metrics: Metrics,
        *,
        call_later: Callable[..., Timer],
        clock: Clock,
    ) -> None:
        self._authentication = authentication
        self._connections = connections
        self._sender = sender
        self._delivery = delivery
        self._auth_failures = metrics.auth_failures
        self._call_later = call_later
        self._clock = clock
        self._now_ms = clock.now_ms
        self._lead_ms = self._wall_clock_lead_ms()
        self._timers: dict[str, Timer] = {}
        self.on_refresh: Callable[[Connection], None] = lambda connection: None  # told of each new principal

    def watch(self, connection: Connection) -> None:
        """Start or restart watching a connection."""
        self.forget(connection)
        left_ms = connection.principal.expires_at_ms - self._now_ms()
        if left_ms > WARN_AHEAD_MS:
            self._schedule(connection, min(left_ms - WARN_AHEAD_MS, MAX_SLEEP_MS), self.watch)
            return
        self._sender.error(connection, ErrorCode.AUTH_EXPIRED, "The token is about to expire; send auth_refresh.")
        self._schedule(connection, max(left_ms, 0), self._expire)

    def forget(self, connection: Connection) -> None:
        """Stop watching a connection."""
        timer = self._timers.pop(connection.id, None)
        if timer is not None:
            timer.cancel()

    def check_clock(self) -> None:
        """Watch everyone anew if the wall clock was set, or ran on while this machine slept: their timers did not."""
        lead_ms = self._wall_clock_lead_ms()
        if abs(lead_ms - self._lead_ms) <= CLOCK_SLACK_MS:
            return
        self._lead_ms = lead_ms
        for connection in self._connections.all():
            if connection.is_open:
                self.watch(connection)

    def register(self, router: MessageRouter) -> None:
        """Put `auth_refresh` into the table."""
        router.register("auth_refresh", self.refresh)

    def refresh(self, connection: Connection, envelope: Envelope, frame_bytes: int) -> None:
        """Handle `auth_refresh`: a valid token of the same user replaces the expiry, anything else changes nothing."""
        try:
            token = decode_data(envelope.data, AuthRefresh, request_id=envelope.id).token
            principal = self._authentication.authenticate(token)
        except InvalidMessageError as error:
            self._sender.error(connection, ErrorCode.INVALID_MESSAGE, error.reason, id=envelope.id)
            return
        except AuthError as error:
            self._auth_failures[error.rule].value += 1
            self._sender.error(connection, error.code, error.reason, id=envelope.id)
            return
        current = connection.principal
        pinned_elsewhere = principal.session_id not in (None, connection.session_id)
        if principal.user_id != current.user_id or principal.is_guest != current.is_guest or pinned_elsewhere:
            self._sender.error(
                connection, ErrorCode.FORBIDDEN, "The token belongs to another user or session.", id=envelope.id
            )
            return
        self._connections.update(connection.id, principal)
        self._sender.send(connection, "auth_refreshed", AuthRefreshed(principal.expires_at_ms), id=envelope.id)
        self.watch(connection)
        self.on_refresh(connection)

    def _wall_clock_lead_ms(self) -> float:
        return self._now_ms() - self._clock.now_s() * 1000

    def _schedule(self, connection: Connection, delay_ms: int, action: Callable[[Connection], Any]) -> None:
        self._timers[connection.id] = self._call_later(delay_ms / 1000, action, connection)

    def _expire(self, connection: Connection) -> None:
        if connection.principal.expires_at_ms - self._now_ms() > CLOCK_SLACK_MS:
            self.watch(connection)
            return
        self._sender.error(connection, ErrorCode.AUTH_EXPIRED, "The token has expired.")
        self._delivery.close(connection, TOKEN_EXPIRED)

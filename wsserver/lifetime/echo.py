"""A raw echo of text and binary messages, for conformance suites and for a look at the bare engine.

The server calls it when `--echo-path` is set; it knows nothing of envelopes, tokens and sessions. Messages go
through the production parser and its limits.
"""

from __future__ import annotations

import asyncio
from typing import Final

from wscore.disconnects import SHUTDOWN, SLOW_CONSUMER, Disconnect, DisconnectError
from wsserver.engines.channel import Channel
from wsserver.engines.request import HandshakeRequest, client_fields
from wsserver.handshake.limits import ConnectionLimiter
from wsserver.handshake.upgrade import Upgrade
from wsserver.telemetry.endings import end_fields, refusal_fields
from wsserver.telemetry.logs import EventLog

_NOBODY: Final = "echo"  # whom the limiter counts an echo connection for


class EchoRoom:
    """Sends every message back to its sender (engines' `Gateway`); a peer that does not read is not read either."""

    __slots__ = ("_channels", "_is_empty", "_limiter", "_log", "_upgrade")
    holds_back = True

    def __init__(self, upgrade: Upgrade, limiter: ConnectionLimiter, log: EventLog) -> None:
        self._upgrade = upgrade
        self._limiter = limiter
        self._log = log
        self._channels: dict[Channel, str | None] = {}  # each with the client's address
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def opened(self, request: HandshakeRequest, channel: Channel) -> Channel | None:
        """Take a connection in, from a host and an origin that may connect and within the limits on connections."""
        try:
            self._upgrade.screen(request)
            self._limiter.check_peer(request.client_ip)
        except DisconnectError as refusal:
            self._log.info("echo.refused", **client_fields(request, channel.peer_ip), **refusal_fields(refusal))
            channel.close(refusal.disconnect)
            return None
        self._limiter.enter(request.client_ip, _NOBODY)
        self._channels[channel] = request.client_ip
        self._is_empty.clear()
        self._log.info("echo.opened", **client_fields(request, channel.peer_ip))
        return channel

    def text(self, channel: Channel, payload: bytes) -> None:
        """Send a text message back."""
        channel.send_text(payload)

    def binary(self, channel: Channel, payload: bytes) -> None:
        """Send a binary message back."""
        channel.send_binary(payload)

    def control(self, channel: Channel) -> bool:
        """Grant every ping its pong."""
        return True

    def slow(self, channel: Channel) -> None:
        """Close a peer that does not read: all that wait together are over their limit."""
        channel.close(SLOW_CONSUMER)

    def closed(self, channel: Channel, code: int, reason: str, disconnect: Disconnect | None) -> None:
        """Forget a connection."""
        self._limiter.leave(self._channels.pop(channel), _NOBODY)
        self._log.info("echo.closed", **end_fields(code, reason, disconnect))
        if not self._channels:
            self._is_empty.set()

    def close_all(self) -> None:
        """Say goodbye to everyone: the server shuts down."""
        for channel in tuple(self._channels):
            channel.close(SHUTDOWN)

    def abort_all(self) -> None:
        """Drop who is left."""
        for channel in tuple(self._channels):
            channel.abort()

    async def wait_empty(self) -> None:
        """Return once nobody is left."""
        while self._channels:
            await self._is_empty.wait()

"""What an engine and the server owe each other; every call is synchronous and happens on the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from wscore.disconnects import Disconnect
from wsserver.engines.assembly import TEXT
from wsserver.engines.channel import Channel
from wsserver.engines.request import HandshakeRequest, HttpReply

MAX_REASON_BYTES: Final = 123  # what a close frame has room for (RFC 6455 section 5.5)


def close_reason(text: str) -> str:
    """Cut a reason to what a close frame can carry, between characters."""
    return text.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


def is_sendable_code(code: int) -> bool:
    """Tell whether a close frame may carry `code` (RFC 6455 section 7.4 and the registry after it)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


H = TypeVar("H")


class Gateway(Protocol[H]):
    """What an engine calls for a connection, which it knows by a handle that means nothing to it.

    `holds_back`: whether a peer is not read while something waits for it; the limits are not for such a one, as little
    can wait.
    """

    holds_back: bool

    def opened(self, request: HandshakeRequest, channel: Channel) -> H | None:
        """Take a connection in; None means it was refused and is being closed."""

    def text(self, connection: H, payload: bytes) -> None:
        """Handle one text message, already checked to be UTF-8."""

    def binary(self, connection: H, payload: bytes) -> None:
        """Handle one binary message."""

    def control(self, connection: H) -> bool:
        """Note a ping or pong frame; returns whether a ping deserves its pong."""

    def slow(self, connection: H) -> None:
        """Close a connection with 4003, without what waits for it: that is over a limit."""

    def closed(self, connection: H, code: int, reason: str, disconnect: Disconnect | None) -> None:
        """Forget a connection; called exactly once for each that was taken in.

        `code` and `reason` are the peer's; `disconnect` is why the server closed, where it did so first.
        """


class UpgradeHandler(Protocol):
    """What an engine asks about a handshake."""

    def handshake(self, request: HandshakeRequest, peer_ip: str | None) -> HttpReply | Gateway[Any]:
        """Answer a request with plain HTTP, or name the gateway that takes the connection."""


def hand_over(gateway: Gateway[H], connection: H, opcode: int, message: bytes) -> None:
    """Give an assembled message to the gateway."""
    if opcode == TEXT:
        gateway.text(connection, message)
    else:
        gateway.binary(connection, message)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine needs to know; sizes in bytes, times in seconds."""

    max_message_bytes: int
    close_timeout_s: float
    compression: bool = False


class Engine(Protocol):
    """A way to speak WebSocket."""

    def upgrade(
        self,
        request: HandshakeRequest,
        gateway: Gateway[Any],
        transport: asyncio.Transport,
        peer_ip: str | None,
        rest: bytes,
    ) -> None:
        """Answer an upgrade with 101, and speak WebSocket on `transport` from then on.

        `request` was checked to be complete; `rest` are the bytes that came behind it.
        """

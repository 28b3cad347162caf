"""The connections of people's own users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from picows import WSTransport

from loadtest.generator.connections import BINARY, TEXT, ConnectionOwner, LoadConnection, decode_envelope, fault_of
from loadtest.generator.messages import Counts
from loadtest.generator.owntime import OwnTime
from wscore.codes import CLOSES, CloseCode
from wscore.foreign import Frame
from wscore.jsonvalues import NOT_JSON

T = TypeVar("T")


class Nobody:
    """In place of a load's traffic: a user counts for itself."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.own_time = OwnTime()

    def met(self, connection: LoadConnection) -> None:
        pass

    def joined(self, connection: LoadConnection) -> None:
        pass

    def ended(self, connection: LoadConnection) -> None:
        pass

    def error(self, text: str) -> None:
        self.counts.error(text)


class UserConnection(LoadConnection, Generic[T]):
    """Hands messages to `take`, and says how it ended to `lost`."""

    __slots__ = ("_lost", "_take")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: ConnectionOwner,
        slot: int,
        index: int,
        take: Callable[[T], None],
        lost: Callable[[str], None],
    ) -> None:
        super().__init__(owner, slot, index, loop)
        self._take = take
        self._lost = lost

    @property
    def ending(self) -> str:
        """Why there is no connection any more."""
        try:
            name = CLOSES[CloseCode(self.close_code)].name
        except ValueError:
            name = "closed"
        return f"{int(self.close_code)} {name}" + (f", {self.refusal}" if self.refusal else "")

    def send(self, payload: bytes, *, is_text: bool = True) -> None:
        """Send a message; callable from every greenlet."""
        self.transport.send(TEXT if is_text else BINARY, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        self._lost(self.ending)


class EnvelopeConnection(UserConnection[bytes]):
    """Hands every message to `take` but the server's pings."""

    __slots__ = ()

    def text(self, payload: bytes) -> None:
        try:
            envelope = decode_envelope(payload)
        except NOT_JSON:
            self.traffic.error(fault_of(payload))
            return
        self.other(envelope)
        if envelope.type != "ping":
            self._take(payload)


class RawConnection(UserConnection[Frame]):
    """Ready when the WebSocket is open; hands every text and every binary message to `take`."""

    __slots__ = ()

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self.greeted()

    def text(self, payload: bytes) -> None:
        try:
            self._take(payload.decode())
        except UnicodeDecodeError:
            self.traffic.error(fault_of(payload))

    def binary(self, payload: bytes) -> None:
        self._take(payload)

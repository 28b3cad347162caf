"""The connection of an EnvelopeUser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from picows import WSTransport

from loadtest.generator.connections import TEXT, LoadConnection, decode_envelope
from loadtest.generator.messages import Counts
from loadtest.generator.owntime import OwnTime
from wscore.codes import CLOSES, CloseCode


class _Nobody:
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


class UserConnection(LoadConnection):
    """Hands every message to `take` but the server's pings, and says how it ended to `lost`."""

    __slots__ = ("_lost", "_take")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        index: int,
        take: Callable[[bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        super().__init__(_Nobody(), 0, index, loop)
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

    def send(self, payload: bytes) -> None:
        """Send a text; callable from every greenlet."""
        self.transport.send(TEXT, payload)

    def text(self, payload: bytes) -> None:
        try:
            envelope = decode_envelope(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self.other(envelope)
        if envelope.type != "ping":
            self._take(payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        self._lost(self.ending)

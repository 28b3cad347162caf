"""Envelopes of the server itself to connections at hand; an app goes through the hub, and its checks."""

from __future__ import annotations

import msgspec

from wscore.codes import ErrorCode
from wscore.envelope import MessageProtocol, OutboundEnvelope
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection


class EnvelopeSender:
    """Makes envelopes for one connection and sends them; every call returns False if it is closing."""

    __slots__ = ("_delivery", "_protocol")

    def __init__(self, protocol: MessageProtocol, delivery: Delivery) -> None:
        self._protocol = protocol
        self._delivery = delivery

    def send(
        self,
        connection: Connection,
        type: str,
        data: object = msgspec.UNSET,
        *,
        id: str | None = None,
        lossy: bool = False,
    ) -> bool:
        """Send a message."""
        return self.send_envelope(
            connection, self._protocol.create_envelope(type, data, connection.session_id, id=id), lossy=lossy
        )

    def send_envelope(self, connection: Connection, envelope: OutboundEnvelope, *, lossy: bool = False) -> bool:
        """Send a finished envelope."""
        return self._delivery.send(connection, self._protocol.serialize(envelope), lossy=lossy)

    def error(
        self,
        connection: Connection,
        code: ErrorCode,
        message: str,
        *,
        id: str | None = None,
        details: dict[str, object] | None = None,
    ) -> bool:
        """Send an `error` envelope, carrying the `id` of the request that caused it."""
        if not connection.is_open:
            return False
        envelope = self._protocol.create_error_envelope(code, message, connection.session_id, id=id, details=details)
        return self.send_envelope(connection, envelope)

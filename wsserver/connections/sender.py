"""Envelopes of the server itself to connections at hand; an app goes through the hub, and its checks."""

from __future__ import annotations

import msgspec

from wscore.envelope import MessageProtocol, OutboundEnvelope
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection
from wsserver.telemetry.metrics import Metrics


class EnvelopeSender:
    """Makes envelopes for one connection and sends them; every call returns False if it is closing."""

    __slots__ = ("_delivery", "_errors", "_protocol", "_sent")

    def __init__(self, protocol: MessageProtocol, delivery: Delivery, metrics: Metrics) -> None:
        self._protocol = protocol
        self._delivery = delivery
        self._sent = metrics.sent
        self._errors = metrics.errors

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
        payload = self._protocol.serialize(envelope)
        is_sent = self._delivery.send(connection, payload, lossy=lossy)
        if is_sent:
            sent = self._sent[envelope.type]
            sent.value += 1
            sent.octets += len(payload)
        return is_sent

    def error(
        self,
        connection: Connection,
        code: str,
        message: str,
        *,
        id: str | None = None,
        details: dict[str, object] | None = None,
        retryable: bool | None = None,
    ) -> bool:
        """Send an `error` envelope, carrying the `id` of the request that caused it; see `create_error_envelope`."""
        if not connection.is_open:
            return False
        envelope = self._protocol.create_error_envelope(
            code, message, connection.session_id, id=id, details=details, retryable=retryable
        )
        is_sent = self.send_envelope(connection, envelope)
        if is_sent:
            self._errors[code].value += 1
        return is_sent

"""Answers to those whose messages could not be published, since the broker did not take them (design section 8)."""

from __future__ import annotations

from wscore.codes import ErrorCode
from wsserver.brokers.base import NotPublished
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.sender import EnvelopeSender


class PublishAnswers:
    """Sends PROCESSING_ERROR to the sender of a message.

    It may try again where the message is certainly not published. Where nobody knows, a second try could double it.
    """

    __slots__ = ("_connections", "_sender")

    def __init__(self, connections: ConnectionManager, sender: EnvelopeSender) -> None:
        self._connections = connections
        self._sender = sender

    def unpublished(self, connection_id: str, request_id: str | None, answer: NotPublished) -> None:
        """Tell a connection about its message."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        if answer.is_unknown:
            text, details = "Nobody knows yet whether it is published.", {"outcome": "unknown"}
        else:
            text, details = "It is not published.", {"outcome": "refused"}
        self._sender.error(
            connection,
            ErrorCode.PROCESSING_ERROR,
            f"{text} The server cannot reach its broker, or that has no room.",
            id=request_id,
            details=dict(details),
            retryable=not answer.is_unknown,
        )

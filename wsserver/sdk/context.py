"""What a handler gets to know and to do about the message it handles."""

from __future__ import annotations

import msgspec

from wscore.codes import CloseCode, ErrorCode
from wscore.principal import Principal
from wsserver.brokers.base import PublishResult
from wsserver.connections.state import Connection
from wsserver.sdk.hub import Hub


class Context:
    """One message's sender and the ways to answer. Calls return at once; order is kept."""

    __slots__ = ("_connection", "hub", "request_id", "type")

    def __init__(
        self, connection: Connection, hub: Hub, type: str | None = None, request_id: str | None = None
    ) -> None:
        self._connection = connection
        self.hub = hub
        self.type = type  # the message's; None in a connect or disconnect hook
        self.request_id = request_id  # the message's `id`, which `reply` and `error` carry back

    @property
    def principal(self) -> Principal:
        """Who sent the message."""
        return self._connection.principal

    @property
    def connection_id(self) -> str:
        """The connection it came from."""
        return self._connection.id

    @property
    def session_id(self) -> str:
        """The session it came from."""
        return self._connection.session_id

    def reply(self, type: str, data: object = msgspec.UNSET) -> bool:
        """Answer the sender, with the request's `id`; returns False if it is gone."""
        return self.hub.send(self.connection_id, type, data, id=self.request_id)

    def error(self, code: ErrorCode, message: str, details: dict[str, object] | None = None) -> bool:
        """Answer with an `error` envelope, with the request's `id`; the connection stays open."""
        return self.hub.send_error(self.connection_id, code, message, details, id=self.request_id)

    def send(self, connection_id: str, type: str, data: object = msgspec.UNSET) -> bool:
        """Send to any connection by its id; returns False if it is gone."""
        return self.hub.send(connection_id, type, data)

    def publish(self, type: str, data: object = msgspec.UNSET, *, lossy: bool = False) -> PublishResult:
        """Publish to every connection of the session, the sender included; see `Hub.publish`."""
        return self.hub.publish(type, data, session=self.session_id, user_id=self.principal.user_id, lossy=lossy)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> bool:
        """Close the sender's connection, after what was sent to it before."""
        return self.hub.close(self.connection_id, code, reason)

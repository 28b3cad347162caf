"""The broker of a server that is one process: what is published is delivered at once."""

from __future__ import annotations

from wsserver.brokers.base import UNNUMBERED, Deliver, GroupKind, PublishResult


class MemoryBroker:
    """Hands every message on. There is no other process, so nothing has to be subscribed to."""

    __slots__ = ("_deliver",)

    _deliver: Deliver

    def attach(self, deliver: Deliver) -> None:
        """Name what takes the messages."""
        self._deliver = deliver

    def publish(
        self, kind: GroupKind, name: str, payload: bytes, *, lossy: bool = False, except_connection: str | None = None
    ) -> PublishResult:
        """Deliver one message to those who are in the group now."""
        self._deliver(kind, name, payload, lossy, except_connection)
        return UNNUMBERED

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Do nothing: all there is comes here anyway."""

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Do nothing."""

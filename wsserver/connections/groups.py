"""Every group that has members in this process, by kind and name."""

from __future__ import annotations

from wsserver.brokers.base import GROUP_KINDS, Broker, GroupKind
from wsserver.connections.state import Connection, Group


class Groups:
    """Makes a group for its first member and ends it with its last; the broker is told of both."""

    __slots__ = ("_broker", "_by_name")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._by_name: dict[GroupKind, dict[str, Group]] = {kind: {} for kind in GROUP_KINDS}

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def get(self, kind: GroupKind, name: str) -> Group | None:
        """Return a group, None if nobody here is in it."""
        return self._by_name[kind].get(name)

    def find(self, kind: GroupKind, name: str) -> Group:
        """Return a group for somebody to join; a new one is not known before that."""
        return self._by_name[kind].get(name) or Group(kind, name)

    def join(self, group: Group, connection: Connection) -> None:
        """Make a connection a member."""
        if not group.members:
            self._by_name[group.kind][group.name] = group
            self._broker.subscribe(group.kind, group.name)
        group.members[connection.id] = connection

    def leave(self, group: Group, connection: Connection) -> None:
        """Take a connection out of a group; an empty one ends."""
        if group.members.pop(connection.id, None) is not None and not group.members:
            del self._by_name[group.kind][group.name]
            self._broker.unsubscribe(group.kind, group.name)

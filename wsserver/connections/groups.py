"""Every group that has members in this process, by kind and name."""

from __future__ import annotations

from collections.abc import Iterator

from wsserver.brokers.base import GROUP_KINDS, USER, Broker, GroupKind
from wsserver.connections.state import Connection, Group


class Groups:
    """Makes a group for its first member and ends it with its last; the broker is told of both."""

    __slots__ = ("_broker", "_by_name")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._by_name: dict[GroupKind, dict[str, Group]] = {kind: {} for kind in GROUP_KINDS}

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def count(self, kind: GroupKind) -> int:
        """Return how many groups of a kind there are."""
        return len(self._by_name[kind])

    def all(self, kind: GroupKind) -> tuple[Group, ...]:
        """Return every group of a kind, safe to iterate while they come and go."""
        return tuple(self._by_name[kind].values())

    def get(self, kind: GroupKind, name: str) -> Group | None:
        """Return a group, None if nobody here is in it."""
        return self._by_name[kind].get(name)

    def find(self, kind: GroupKind, name: str) -> Group:
        """Return a group for somebody to join; a new one is not known before that."""
        return self._by_name[kind].get(name) or Group(kind, name)

    def of(self, connection: Connection) -> Iterator[Group]:
        """Yield those that a connection is a member of."""
        yield connection.session
        yield from tuple(connection.rooms or ())
        if users := self._by_name[USER]:
            principal = connection.principal
            group = users.get(user_group_name(principal.user_id, is_guest=principal.is_guest))
            if group is not None:
                yield group

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


def user_group_name(user_id: str, *, is_guest: bool) -> str:
    """Return the name of a user's group: a guest is never the user of a token, whatever the two are called."""
    return f"{'guest' if is_guest else 'user'}:{user_id}"

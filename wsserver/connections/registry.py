"""Every connection by its id, from its registration to its end (the seed's ConnectionManager)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from wscore.principal import Principal
from wsserver.brokers.base import SESSION, USER
from wsserver.connections.groups import Groups
from wsserver.connections.state import Connection
from wsserver.connections.users import User, UserGroups

MAX_ENDED: Final = 10_000  # ids of connections that are known to be gone


class ConnectionManager:
    """Registers connections by id, and makes them members of their session's group and their user's.

    With `keeps_ended` it remembers the last ones that have ended here: another process need not be asked for those.
    """

    __slots__ = ("_connections", "_ended", "_groups", "_is_empty", "_users")

    def __init__(self, groups: Groups, users: UserGroups, *, keeps_ended: bool = False) -> None:
        self._ended: dict[str, None] | None = {} if keeps_ended else None
        self._groups = groups
        self._users = users
        self._connections: dict[str, Connection] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    def register(self, connection: Connection) -> None:
        """Add a connection after authentication, to the registry and to its session."""
        self._connections[connection.id] = connection
        self._is_empty.clear()
        self._groups.join(connection.session, connection)
        self._users.enter(connection)

    def get(self, connection_id: str) -> Connection | None:
        """Return the connection of that id, or None once it is gone."""
        return self._connections.get(connection_id)

    def origin_of(self, connection_id: str) -> str:
        """Return the id of the first connection of the client that a connection belongs to."""
        connection = self._connections.get(connection_id)
        return connection_id if connection is None else connection.origin

    def by_session(self, session_id: str) -> Iterable[Connection]:
        """Return the connections of a session, safe to iterate while they come and go."""
        group = self._groups.get(SESSION, session_id)
        return () if group is None else tuple(group.members.values())

    def user_group(self, user: User) -> str:
        """Return the name of a user's group, of which all connections of that user are members from now on."""
        return self._users.name_of(user, self._connections.values())

    def by_user(self, user: User) -> tuple[Connection, ...]:
        """Return the connections of a user, safe to iterate while they come and go."""
        return self.by_user_group(self.user_group(user))

    def coming(self, principal: Principal) -> str | None:
        """Return the name of the user's group that a newcomer is going to be in, None without any."""
        return self._users.coming(principal)

    def has_ended(self, connection_id: str) -> bool:
        """Whether a connection was here, and ended not long ago."""
        return self._ended is not None and connection_id in self._ended

    def by_user_group(self, name: str) -> tuple[Connection, ...]:
        """Return the members of a user's group, by its name."""
        group = self._groups.get(USER, name)
        return () if group is None else tuple(group.members.values())

    def all(self) -> tuple[Connection, ...]:
        """Return every connection, safe to iterate while they come and go."""
        return tuple(self._connections.values())

    def update(self, connection_id: str, principal: Principal) -> bool:
        """Replace a connection's principal after `auth_refresh`; returns whether the connection exists."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return False
        connection.principal = principal
        return True

    def unregister(self, connection_id: str) -> Connection | None:
        """Remove a connection and return it; None when it was removed before."""
        connection = self._connections.pop(connection_id, None)
        if connection is not None:
            self._groups.leave(connection.session, connection)
            self._users.leave(connection)
            if self._ended is not None:
                self._ended[connection_id] = None
                if len(self._ended) > MAX_ENDED:
                    del self._ended[next(iter(self._ended))]
        if not self._connections:
            self._is_empty.set()
        return connection

    async def wait_empty(self) -> None:
        """Return once no connection is left."""
        while self._connections:  # somebody may come before whoever waits gets its turn
            await self._is_empty.wait()

"""Every connection by its id (the seed's ConnectionManager)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from wscore.principal import Principal
from wsserver.connections.state import Connection, Session


class ConnectionManager:
    """Registers connections by id and by session."""

    __slots__ = ("_connections", "_is_empty")

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    def register(self, connection: Connection) -> None:
        """Add a connection after authentication, to the registry and to its session."""
        self._connections[connection.id] = connection
        self._is_empty.clear()
        connection.session.connections[connection.id] = connection

    def get(self, connection_id: str) -> Connection | None:
        """Return the connection of that id, or None once it is gone."""
        return self._connections.get(connection_id)

    def by_session(self, session: Session) -> Iterable[Connection]:
        """Return the connections of a session, safe to iterate while they come and go."""
        return tuple(session.connections.values())

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
        if not self._connections:
            self._is_empty.set()
        return connection

    async def wait_empty(self) -> None:
        """Return once no connection is left."""
        while self._connections:  # somebody may come before whoever waits gets its turn
            await self._is_empty.wait()

"""What is told of connections and memberships as they begin and end, if anybody wants to know."""

from __future__ import annotations

from typing import Protocol

from wscore.disconnects import Disconnect
from wsserver.connections.state import Connection


class Witness(Protocol):
    """Sees who comes and goes; it is called in the middle of that, and neither waits nor raises."""

    def opened(self, connection: Connection) -> None:
        """A connection was let in."""

    def closed(self, connection: Connection, code: int, disconnect: Disconnect | None) -> None:
        """A connection has ended: by the server for that `disconnect`, else by its peer with `code`."""

    def joined(self, room: str, connection: Connection) -> None:
        """A connection is a member of a room now."""

    def left(self, room: str, connection: Connection) -> None:
        """A connection is no member of a room any more."""

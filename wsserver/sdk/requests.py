"""Requests of the server to its clients, which answer with the id that came with them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wscore.envelope import Envelope
from wscore.errors import WsctlError

REQUEST_PREFIX: Final = "srv."
_RANDOM_BYTES: Final = 16  # nobody else guesses the id


def new_request_id() -> str:
    """Return an id that nobody has had, and nobody can guess."""
    return REQUEST_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


class ConnectionGoneError(WsctlError):
    """The client that was asked is gone."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.connection_id = connection_id

    def __str__(self) -> str:
        return f"the connection {self.connection_id} is gone"


class Requests:
    """Those that wait for their reply, by connection and id; `waiting` is empty while nobody asks."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[str, dict[str, asyncio.Future[Envelope]]] = {}

    @contextmanager
    def awaited(
        self, connection_id: str, request_id: str | None = None
    ) -> Iterator[tuple[str, asyncio.Future[Envelope]]]:
        """Give a new id, or the given one, and the future of its reply, which is forgotten at the end of the block."""
        request_id = request_id or new_request_id()
        reply: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        own = self.waiting.setdefault(connection_id, {})
        own[request_id] = reply
        try:
            yield request_id, reply
        finally:
            del own[request_id]
            if not own and self.waiting.get(connection_id) is own:
                del self.waiting[connection_id]

    def deliver(self, connection_id: str, envelope: Envelope) -> bool:
        """Give an envelope to the request that it answers; returns whether there is one."""
        if envelope.id is None:
            return False
        reply = self.waiting.get(connection_id, {}).get(envelope.id)
        if reply is None or reply.done():
            return False
        reply.set_result(envelope)
        return True

    def leave(self, connection_id: str) -> None:
        """Fail what still waits for a connection that is gone."""
        for reply in self.waiting.pop(connection_id, {}).values():
            if not reply.done():
                reply.set_exception(ConnectionGoneError(connection_id))

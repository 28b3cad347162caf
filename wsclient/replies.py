"""Requests that wait for the reply with their id."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from wsclient.errors import ServerError
from wscore.envelope import Envelope, decode_data
from wscore.foreign import Adapter


class _Problem(msgspec.Struct):
    # Laxer than ErrorData: a newer server, or an app, may know codes that this client does not.
    code: str
    message: str = ""
    retryable: bool = False
    details: dict[str, object] | None = None


class Replies:
    """Pending requests by id; ids are unique among all clients, since a fan-out may carry those of others."""

    __slots__ = ("_count", "_pending", "_prefix")

    def __init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:8]
        self._count = 1  # the first is left to what a protocol sends of itself
        self._pending: dict[str, asyncio.Future[Envelope]] = {}

    @contextmanager
    def awaited(self, adapter: Adapter) -> Iterator[tuple[str, asyncio.Future[Envelope]]]:
        """Give a new id and the future of its reply, which is forgotten at the end of the block."""
        request_id = self.new_id(adapter)
        reply: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = reply
        try:
            yield request_id, reply
        finally:
            del self._pending[request_id]
            if reply.done() and not reply.cancelled():
                reply.exception()  # looked at, or asyncio would complain of it when sending failed first

    def new_id(self, adapter: Adapter) -> str:
        """Return an id that no other request has, as the protocol wants it."""
        self._count += 1
        return adapter.request_id(self._prefix, self._count)

    def deliver(self, envelope: Envelope) -> bool:
        """Give an envelope to the request it answers; returns whether there was one."""
        reply = None if envelope.id is None else self._pending.get(envelope.id)
        if reply is None or reply.done():
            return False
        reply.set_result(envelope)
        return True

    def fail(self, error: Exception) -> None:
        """End every pending request with an exception."""
        for reply in self._pending.values():
            if not reply.done():
                reply.set_exception(error)


def server_error(envelope: Envelope) -> ServerError:
    """Return what an `error` envelope says; raises InvalidMessageError if it says nothing readable."""
    problem = decode_data(envelope.data, _Problem)
    return ServerError(problem.code, problem.message, problem.retryable, problem.details)

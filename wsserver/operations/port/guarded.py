"""One HTTP connection within limits: how many there are, how large a head is, and how long it takes.

uvicorn has none of them for a client that never finishes its request, or reads no answer.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS: Final = 256
MAX_HEAD_BYTES: Final = 32 << 10
HEAD_S: Final = 10.0  # for a request to come as far as its headers
WRITE_S: Final = 10.0  # in which a client has to read something of what waits for it


class GuardedProtocol(HttpToolsProtocol):
    """Drops a connection that is one too many, and one that is too slow or says too much before it asks anything."""

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that is too large is not waited for."""
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes = self._head_bytes + len(data) if was_in_head else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._drop()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Hand a request over, once its headers are there."""
        self._in_head = False
        self._stop(self._head_timer)
        self._head_timer = None
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_HEAD_BYTES:
            self._drop()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that what follows is the head of another request."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._write_timer = self._write_timer or self.loop.call_later(WRITE_S, self._drop)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._stop(self._write_timer)
        self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that asks nothing more, also if it has not read its last answer."""
        super().timeout_keep_alive_handler()
        self._write_timer = self._write_timer or self.loop.call_later(WRITE_S, self._drop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop(self._head_timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._in_head = True
        self._head_timer = self.loop.call_later(HEAD_S, self._drop)

    def _drop(self) -> None:
        self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

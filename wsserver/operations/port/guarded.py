"""One HTTP connection within limits: how many there are, how large a head is, and how long it takes.

uvicorn has none of them for a client that never finishes its request, or reads no answer. A connection always has a
timer, except while a request that is there as a whole is worked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wsserver.operations.port.replies import UNSENT

MAX_CONNECTIONS: Final = 256
MAX_HEAD_BYTES: Final = 32 << 10  # of a request besides its body: headers, and what frames the parts of a body
MAX_PIPELINED: Final = 8  # requests that wait for the answers to those before
HEAD_S: Final = 10.0  # for a request to come as far as its headers
BODY_S: Final = 10.0  # and for the rest of it
WRITE_S: Final = 10.0  # in which a client has to read something of what waits for it
IDLE_S: Final = 15  # until the next request; longer than the pause between two scrapes of many, or looks of `wsctl top`


class _TooMuchError(Exception):
    """Ends the parsing of what came; the client is answered with 400."""


class GuardedProtocol(HttpToolsProtocol):
    """Drops a connection that is one too many, and one that is too slow or says too much before it asks anything."""

    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _is_waiting = False  # for a request to begin

    def __init__(self, *arguments: Any, refused: Callable[[str], None], **options: Any) -> None:
        """Make it as uvicorn does; `refused` is told the address of one that is one too many."""
        super().__init__(*arguments, **options)
        self._refused = refused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            self._refused(self.client[0] if self.client else "")
        else:
            self._expect(HEAD_S)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that is too large is not waited for, nor is anything behind a body."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._drop()
        elif self.transport.is_closing():  # it was answered with 400
            self._end_soon()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["state"][UNSENT] = self._unsent
        if self._timer is None or self._is_waiting:
            self._expect(HEAD_S)

    def on_headers_complete(self) -> None:
        """Hand a request over, once its headers are there."""
        self._expect(BODY_S)
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        if size > MAX_HEAD_BYTES or len(self.pipeline) >= MAX_PIPELINED:
            raise _TooMuchError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that what follows belongs to another request."""
        super().on_message_complete()
        self._stop(self._timer)
        self._timer = None
        self._head_bytes = 0
        if self.cycle.response_complete:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request, if all that came are answered."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_soon()
        elif self.cycle.response_complete and self._timer is None:
            self._wait()

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
        self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop(self._timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def _unsent(self) -> int:
        """Return how many bytes wait in memory for all clients to read them."""
        return sum(connection.transport.get_write_buffer_size() for connection in self.connections)

    def _expect(self, within_s: float) -> None:
        """Drop the connection unless more of the request is there by then."""
        self._stop(self._timer)
        self._is_waiting = False
        self._timer = self.loop.call_later(within_s, self._drop)

    def _wait(self) -> None:
        """Close the connection unless a request begins by then; line breaks, which may stand before one, are none.

        uvicorn's own timer ends with whatever byte comes.
        """
        self._stop(self._timer)
        self._is_waiting = True
        self._timer = self.loop.call_later(IDLE_S, self.timeout_keep_alive_handler)

    def _end_soon(self) -> None:
        """Drop a connection that is being closed, if its client does not read what it is still sent."""
        self._write_timer = self._write_timer or self.loop.call_later(WRITE_S, self._drop)

    def _drop(self) -> None:
        self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

"""Listens, and waits when no file descriptor is left: the selector loop's own accept spins and logs each try."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from wsserver.engines.base import BACKLOG, ListeningSockets

RETRY_S: Final = 1.0
BATCH: Final = 100  # connections taken in one turn of the loop, so that a flood of them leaves the others their turns
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NOTHING_MORE: Final = (BlockingIOError, InterruptedError, ConnectionAbortedError)

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


async def listen(
    factory: ProtocolFactory,
    *,
    host: str | None,
    port: int,
    uds: str | None = None,
    tls: ssl.SSLContext | None,
    handshake_timeout_s: float,
) -> ListeningSockets:
    """Listen on host and port, or on the Unix socket `uds`; raises OSError.

    `handshake_timeout_s` is for TLS, which comes before the engine sees anything of a connection.
    """
    loop = asyncio.get_running_loop()
    own = isinstance(loop, asyncio.SelectorEventLoop)  # uvloop does it right, and so does Windows
    timeout_s = None if tls is None else handshake_timeout_s
    if uds is not None:
        server = await loop.create_unix_server(
            factory, uds, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=timeout_s, start_serving=not own
        )
    else:
        server = await loop.create_server(
            factory, host, port, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=timeout_s, start_serving=not own
        )
    if not own:
        return ListeningSockets(server)
    return _AcceptingSockets(server, [_Acceptor(one.dup(), factory, tls, timeout_s) for one in server.sockets])


class _AcceptingSockets(ListeningSockets):
    """What it listens on, with acceptors of its own."""

    __slots__ = ("_acceptors",)

    def __init__(self, server: asyncio.Server, acceptors: list[_Acceptor]) -> None:
        super().__init__(server)
        self._acceptors = acceptors

    def close(self) -> None:
        """Stop listening; open connections stay."""
        for acceptor in self._acceptors:
            acceptor.close()
        super().close()


class _Acceptor:
    """Takes connections off one listening socket; while it can take none they wait in the kernel's queue."""

    __slots__ = ("_factory", "_loop", "_retry", "_socket", "_tasks", "_timeout_s", "_tls")

    def __init__(
        self,
        listening: socket.socket,
        factory: ProtocolFactory,
        tls: ssl.SSLContext | None,
        timeout_s: float | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = listening
        self._factory = factory
        self._tls = tls
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly
        self._retry: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        """Stop; what was taken already goes on to the engine, which turns it away."""
        self._pause()
        self._socket.close()

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._socket, self._accept)

    def _pause(self) -> None:
        self._loop.remove_reader(self._socket)
        if self._retry is not None:
            self._retry.cancel()

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                connection, _ = self._socket.accept()
            except _NOTHING_MORE:
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause()
                self._retry = self._loop.call_later(RETRY_S, self._resume)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, connection: socket.socket) -> None:
        # A peer that is gone already, or fails at TLS, is no event.
        with suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._factory, connection, ssl=self._tls, ssl_handshake_timeout=self._timeout_s
            )

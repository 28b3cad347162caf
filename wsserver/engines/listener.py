"""Listens and accepts, for both engines and on every event loop: a loop's own accept knows no limits.

asyncio's spins and logs each try when no file descriptor is left, and uvloop's takes more processor time a connection
than this one, which takes many in one turn.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final

from wscore.errors import WsctlError
from wsserver.engines.arrival import Reception
from wsserver.engines.unixsocket import UnixSocketFile

BACKLOG: Final = 4096  # connections the kernel may hold ready; it caps the number by itself
RETRY_S: Final = 1.0
GRACE_S: Final = 1.0  # with a connection that has said nothing yet, once no descriptor is left
ROOM_MADE_S: Final = 0.01  # until the loop has closed what was dropped
BATCH: Final = 100  # connections taken in one turn of the loop, so that a flood of them leaves the others their turns
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NOTHING_MORE: Final = (BlockingIOError, InterruptedError, ConnectionAbortedError)


class ListenError(WsctlError):
    """The server cannot listen where it should: at a port, or at a Unix socket."""

    def __init__(self, where: str, problem: str, options: str = "--port or --host") -> None:
        super().__init__(where, problem, options)
        self.where = where
        self.problem = problem
        self.options = options

    def __str__(self) -> str:
        return f"cannot listen on {self.where}: {self.problem}; choose another {self.options}, or stop what uses it"


async def listen_tcp(reception: Reception, host: str, port: int) -> Listener:
    """Listen on every address of `host`; raises OSError."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, host, port, backlog=BACKLOG, start_serving=False)
    sockets = [bound.dup() for bound in server.sockets]
    server.close()
    return Listener(reception, sockets)


def listen_unix(reception: Reception, path: str, mode: int) -> Listener:
    """Listen on a Unix socket, whose file gets `mode`; raises OSError."""
    file = UnixSocketFile(path, mode, BACKLOG)
    return Listener(reception, [file.listening], file)


class Listener:
    """What a server listens on, until it is closed."""

    __slots__ = ("_acceptors", "_file", "_reception", "_shared", "addresses")

    def __init__(self, reception: Reception, sockets: list[socket.socket], file: UnixSocketFile | None = None) -> None:
        """Begin to accept on bound sockets; `file` is removed at the end."""
        names = [bound.getsockname() for bound in sockets]
        self.addresses: list[tuple[str, int] | str] = [
            name if isinstance(name, str) else (name[0], name[1]) for name in names
        ]
        self._file = file
        self._reception = reception
        self._acceptors = [_Acceptor(bound, reception) for bound in sockets]
        self._shared: dict[socket.socket, _Acceptor] = {}

    def accept_at(self, sockets: Sequence[socket.socket]) -> None:
        """Accept at sockets of others too."""
        for shared in sockets:
            self._shared[shared] = _Acceptor(shared.dup(), self._reception)

    def accept_no_more_at(self, sockets: Sequence[socket.socket]) -> None:
        """Leave them to the others again."""
        for shared in sockets:
            self._shared.pop(shared).close()

    async def leave_to_others(self, within_s: float) -> None:
        """Accept nothing more, and let who is in the middle of a handshake finish it: others accept here too."""
        for acceptor in (*self._acceptors, *self._shared.values()):
            acceptor.close()
        self._acceptors.clear()
        self._shared.clear()
        await self._reception.pending.wait_empty(within_s)

    def close(self) -> None:
        """Stop listening and drop what is still pending; open connections stay."""
        if self._file is not None:
            self._file.unlink()
        for acceptor in (*self._acceptors, *self._shared.values()):
            acceptor.close()
        self._reception.pending.close()


class _Acceptor:
    """Takes connections off one listening socket; while it can take none they wait in the kernel's queue."""

    __slots__ = ("_loop", "_reception", "_retry", "_socket")

    def __init__(self, listening: socket.socket, reception: Reception) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = listening
        self._reception = reception
        self._retry: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
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
                connection, address = self._socket.accept()
            except _NOTHING_MORE:
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause()
                # Whoever comes takes the place of those that say nothing; connections stay.
                delay_s = ROOM_MADE_S if self._reception.pending.make_room(GRACE_S) else RETRY_S
                self._retry = self._loop.call_later(delay_s, self._resume)
                return
            connection.setblocking(False)
            self._reception.take(connection, address[0] if isinstance(address, tuple) else None)

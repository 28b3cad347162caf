"""Has uvicorn serve the port on the running event loop, beside whatever else runs there, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from wscore.errors import ConfigError
from wscore.operations import ApiErrorCode
from wscore.text import system_words
from wsserver.operations.port.guarded import IDLE_S, GuardedProtocol
from wsserver.operations.port.refusals import Refusals
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.logs import EventLog

END_S: Final = 0.3  # for answers that are on their way when the server ends


class OperationsPort:
    """Listens from the beginning on, and answers from `start` to `stop`. Raises ConfigError where it cannot listen."""

    def __init__(self, settings: PortSettings) -> None:
        self._socket = _listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self, app: ASGIApp, log: EventLog) -> None:
        """Answer requests with an app, on the running loop."""
        refused = partial(Refusals(log).add, code=ApiErrorCode.BUSY)
        config = uvicorn.Config(
            app,
            http=partial(GuardedProtocol, refused=refused),  # type: ignore[arg-type]  # a class, to its annotation
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
        )
        self._server = _Server(config)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([self._socket]))

    async def stop(self) -> None:
        """Finish the answers that are on their way, and close; what takes longer than a moment is dropped."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait((self._serving,), timeout=END_S)
            if not self._serving.done():
                self._server.force_exit = True
                for connection in tuple(self._server.server_state.connections):
                    connection.transport.abort()
                await self._serving
        self._socket.close()


class _Server(uvicorn.Server):
    """A server that leaves the signals to whoever runs the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {system_words(error)}"
        mend = "choose another --ops-port or --ops-host, or stop what uses it"
        raise ConfigError("--ops-port", problem, mend) from None
    # Accepted ones inherit it. asyncio sets it for sockets of another origin only, and each answer is two writes.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening

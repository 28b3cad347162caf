"""Private parts of what serves the operations port: uvicorn."""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
from contextlib import nullcontext

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.private.rows import HANG_S, part


@part("uvicorn: its signals", "capture_signals", mend="find what takes the signals now, and leave it out")
def check_uvicorn_signals() -> None:
    """`serve` takes the signals by `capture_signals` alone, serves given sockets, and ends with `should_exit`."""

    class Quiet(uvicorn.Server):
        def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
            return nullcontext()

    async def app(scope: object, receive: object, send: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        server = Quiet(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            async with asyncio.timeout(HANG_S):
                while not server.started:
                    await asyncio.sleep(0.01)
                assert signal.getsignal(signal.SIGTERM) is before
                server.should_exit = True
                await serving

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())


@part("uvicorn: one connection", "HttpToolsProtocol", "server_state.connections", mend="bound heads and time again")
def check_uvicorn_protocol() -> None:
    """The parser calls the methods that we extend; there are `connections`, `headers`, `url`, `loop`, `transport`."""
    for name in ("on_message_begin", "on_headers_complete", "on_message_complete", "on_response_complete"):
        assert callable(getattr(HttpToolsProtocol, name))
    assert callable(HttpToolsProtocol.timeout_keep_alive_handler)
    made = inspect.getsource(HttpToolsProtocol)
    for name in ("connections", "headers", "url", "loop", "transport"):
        assert f"self.{name} = " in made or f"self.{name}: " in made
    assert "self.connections.add(self)" in made

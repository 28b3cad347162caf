"""Fixtures that every folder uses: a real server in the test's own event loop, and tokens for it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wscore.guest import mint_guest_token
from wscore.tokens import JwtKey, mint_jwt
from wsserver import App, ServerSettings, WebSocketServer
from wsserver.clock import Clock
from wsserver.settings import EngineName

SECRET = b"a secret for tests, 32 bytes or more"

# Hundreds of tests start a process of the project's: none of them should have to compile it again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")

StartServer = Callable[..., Awaitable[WebSocketServer]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes a core for `-n auto`: a third of a test's time is waiting, for sockets, processes and speech."""
    return 2 * (os.cpu_count() or 1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Start servers on free ports: `await start_server(app=..., clock=..., **settings)`; all are stopped afterwards."""
    servers: list[WebSocketServer] = []

    async def start(app: App | None = None, clock: Clock | None = None, **settings: Any) -> WebSocketServer:
        defaults = {"port": 0, "drain_timeout_ms": 2000, "close_timeout_ms": 1000}
        server = WebSocketServer(ServerSettings(**{**defaults, **settings}), app, clock=clock)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def guest_token() -> Callable[[], str]:
    """Mint unsigned guest tokens, each for another guest."""
    return lambda: mint_guest_token(uuid.uuid4(), now_ms())


@pytest.fixture
def jwt_key() -> JwtKey:
    return JwtKey(secret=SECRET)


@pytest.fixture
def user_token() -> Callable[..., str]:
    """Mint JWTs for SECRET: `user_token("alice", sid="room", exp=...)`."""

    def mint(sub: str = "alice", **claims: object) -> str:
        return mint_jwt(SECRET, {"sub": sub, "exp": now_ms() // 1000 + 3600, **claims})

    return mint


@pytest.fixture(params=[EngineName.PICOWS, EngineName.WEBSOCKETS])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Each test that takes this runs once per engine."""
    name: EngineName = request.param
    return name

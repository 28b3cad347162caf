"""A server for a test, in the test's own event loop, and clients of it by their user."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from wscore.guest import mint_guest_token
from wscore.tokens import JwtKey, mint_jwt
from wsserver.sdk.app import App
from wsserver.sdk.hub import Hub
from wsserver.server import WebSocketServer
from wsserver.settings import ServerSettings
from wsserver.telemetry.clock import Clock
from wsserver.testing.client import AppClient
from wsserver.testing.clock import MovableClock

_SECRET: Final = secrets.token_bytes(32)  # of this process: what it signs is worth nothing elsewhere
_TOKEN_VALID_S: Final = 24 * 60 * 60
# Handlers that wait for something are waited for no longer than this, in real seconds.
_PATIENCE_S: Final = 0.05
_DEFAULTS: Final[Mapping[str, Any]] = {
    "port": 0,
    "drain_timeout_ms": 2000,
    "close_timeout_ms": 1000,
    "jwt_key": JwtKey(secret=_SECRET),
}


class AppServer:
    """A running server, made by `serving`."""

    def __init__(self, server: WebSocketServer, clock: MovableClock | None) -> None:
        self.server = server
        self._clock = clock
        self._clients: list[AppClient] = []

    @property
    def hub(self) -> Hub:
        """The hub of the app."""
        return self.server.hub

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.server.url

    async def connect(
        self,
        user: str | None = None,
        *,
        scopes: Collection[str] = (),
        session: str | None = None,
        rooms: Collection[str] = (),
        claims: Mapping[str, Any] | None = None,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        greet: bool = True,
    ) -> AppClient:
        """Connect as a user, or without one as a guest, and join rooms; `session` is the session to join or to make.

        `claims` are more claims of the user's token. `token` takes its place, and is none if empty. With `greet` it
        waits for `session_created`; without, for nothing, as for a client that is to be refused. Raises AssertionError
        if it is refused, or may not join.
        """
        if token is None:
            token = self.token(user, scopes=scopes, **(claims or {}))
        fields = {**({"token": token} if token else {}), **({"sessionId": session} if session else {}), **(query or {})}
        socket = await connect(
            f"{self.url}?{urlencode(fields)}",
            proxy=None,
            compression=None,
            ping_interval=None,
            additional_headers=dict(headers or {}),
        )
        client = AppClient(socket, self.settle)
        self._clients.append(client)
        if greet:
            client.greeting = await client.receive("session_created")
            for room in rooms:
                reply = await client.request("room.join", {"room": room})
                assert reply.type == "room.joined", f"{user} may not join {room}: {reply.data}"
        return client

    def token(self, user: str | None = None, *, scopes: Collection[str] = (), **claims: Any) -> str:
        """Return a token of a user with scopes and more claims, or without a user that of a new guest."""
        now_ms = (self._clock.clock if self._clock is not None else Clock()).now_ms()
        if user is None:
            return mint_guest_token(uuid.uuid4(), now_ms)
        expires_s = now_ms // 1000 + _TOKEN_VALID_S
        return mint_jwt(_SECRET, {"sub": user, "exp": expires_s, "scope": " ".join(scopes), **claims})

    async def advance(self, seconds: float) -> None:
        """Move the time of the server, of the app and of the whole event loop ahead, without waiting."""
        assert self._clock is not None, "this server was started without a clock to move"
        await self._clock.advance(seconds)

    async def settle(self) -> None:
        """Return once all that clients have sent is handled, and what came of that has reached them.

        A handler that waits for something else, such as a thread, is waited for 50 ms.
        """
        await self._barrier()
        await self.server._tasks.wait(_PATIENCE_S)
        await self._barrier()

    async def close(self) -> None:
        """Let all clients leave."""
        for client in self._clients:
            await client.close()

    async def _barrier(self) -> None:
        for client in self._clients:
            if client.greeting is not None and client.close_code is None:
                await client.barrier()


@asynccontextmanager
async def serving(
    app: App, *, app_settings: Sequence[object] = (), moves_clock: bool = True, **settings: Any
) -> AsyncIterator[AppServer]:
    """Run an app on a free port until the end of the block.

    `settings` are those of ServerSettings; by default the profile is dev, and tokens are signed with a key of the
    test's own. `app_settings` are objects of the classes that the app names for its settings. `moves_clock=False`
    leaves the time of the event loop alone, as other loops than asyncio's need.
    """
    clock = MovableClock() if moves_clock else None
    try:
        server = WebSocketServer(
            ServerSettings(**{**_DEFAULTS, **settings}),
            app,
            app_settings=app_settings,
            clock=None if clock is None else clock.clock,
        )
        await server.start()
        running = AppServer(server, clock)
        try:
            yield running
        finally:
            await running.close()
            await server.stop()
    finally:
        if clock is not None:
            clock.restore()

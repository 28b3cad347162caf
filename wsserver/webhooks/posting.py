"""Posts to one URL, signed, over connections that are kept; no redirect is followed, and no error names the URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import h11

from wsserver.lookup import look_up
from wsserver.trusting import trusting_context
from wsserver.webhooks.exchange import BackendAnswer, BackendConnection, NoAnswerError, PostError, problem_of
from wsserver.webhooks.settings import HookUrl
from wsserver.webhooks.signing import SigningKeys

KEPT_S: Final = 20.0  # how long a connection stays that nobody uses
_PORTS: Final = {"http": 80, "https": 443}
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"wsctl"),
)


class Poster:
    """Posts to a URL, as many requests at once as are asked for; `timeout_s` is for one, `now_ms` the wall clock."""

    def __init__(self, target: HookUrl, keys: SigningKeys, now_ms: Callable[[], int], *, timeout_s: float) -> None:
        parts = urlsplit(target.url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._tls = trusting_context() if parts.scheme == "https" else None
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = [(b"host", parts.netloc.encode()), *_HEADERS]
        self._keys = keys
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._idle: dict[BackendConnection, asyncio.TimerHandle] = {}

    async def post(self, message_id: str, body: bytes) -> BackendAnswer:
        """Return the answer, whatever its status is; raises PostError."""
        headers = [
            *self._headers,
            *self._keys.headers(message_id, self._now_ms() // 1000, body),
            (b"content-length", b"%d" % len(body)),
        ]
        request = h11.Request(method=b"POST", target=self._target.encode(), headers=headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                while (kept := self._kept()) is not None:
                    try:
                        return await self._ask(kept, request, body)
                    except NoAnswerError:  # the backend has hung up meanwhile
                        continue
                return await self._ask(await self._connect(), request, body)
        except TimeoutError:
            raise PostError(f"no answer within {self._timeout_s:g} s") from None

    def close(self) -> None:
        """Close all connections that nobody uses."""
        while (connection := self._kept()) is not None:
            connection.close()

    async def _ask(self, connection: BackendConnection, request: h11.Request, body: bytes) -> BackendAnswer:
        answer = await connection.ask(request, body)
        if connection.is_free:
            self._idle[connection] = asyncio.get_running_loop().call_later(KEPT_S, self._let_go, connection)
        return answer

    def _kept(self) -> BackendConnection | None:
        """Take the connection that was used last, of those that are still good."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.is_free:
                return connection
        return None

    def _let_go(self, connection: BackendConnection) -> None:
        del self._idle[connection]
        connection.close()

    async def _connect(self) -> BackendConnection:
        try:
            await look_up(self._host, self._port)
            _, connection = await asyncio.get_running_loop().create_connection(
                BackendConnection, self._host, self._port, ssl=self._tls
            )
        except (OSError, ValueError) as error:  # ValueError: the host is no name
            raise PostError(problem_of(error)) from None
        return connection

"""The two faces of the library: `Publisher` waits for the network, `AsyncPublisher` is awaited; else they are alike."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import urlencode

from wsclient.publishing import calls
from wsclient.publishing.calls import ApiCall
from wsclient.publishing.errors import OperationsError
from wsclient.publishing.tries import Tries, checked_key, checked_url
from wscore.installation import require_packages

if TYPE_CHECKING:
    import ssl

    import httpcore

    from wsclient.publishing.transport import PortAnswer, PortRequest

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_TIMEOUT_S: Final = 15.0  # what a broker is away for until the server says so, and some more
DEFAULT_RETRIES: Final = 2


def _waiting(make: Callable[P, ApiCall[T]]) -> Callable[Concatenate[Publisher, P], T]:
    """Return the method of Publisher that makes a call and waits for its answer."""

    @wraps(make)
    def method(self: Publisher, /, *arguments: P.args, **options: P.kwargs) -> T:
        return self._done(make(*arguments, **options))

    _sign(method, make)
    return method


def _awaiting(make: Callable[P, ApiCall[T]]) -> Callable[Concatenate[AsyncPublisher, P], Awaitable[T]]:
    """Return the method of AsyncPublisher that makes a call; its answer is awaited."""

    @wraps(make)
    async def method(self: AsyncPublisher, /, *arguments: P.args, **options: P.kwargs) -> T:
        return await self._done(make(*arguments, **options))

    _sign(method, make)
    return method


def _sign(method: Any, make: Callable[..., Any]) -> None:
    """Give a method the signature of what makes its call, behind `self` and with what the call returns."""
    signature = inspect.signature(make)
    returned = str(signature.return_annotation).removeprefix("ApiCall[").removesuffix("]")
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [first, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returned)
    method.__annotations__ = {**make.__annotations__, "return": returned}


class _Place:
    """Where the port is, with which key, and how patient to be; the key is in no repr and no error."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Take the place of an operations port, http://127.0.0.1:9100 unless `url` or WSCTL_OPS_URL says otherwise.

        The key is given or in WSCTL_OPS_KEY. Each try may take `timeout_s`, to the end of its answer; `retries` more
        follow where one may help, with the same Idempotency-Key, so that nothing is done twice. Raises ConfigError.
        """
        self.url: Final = checked_url(url)
        self._key = checked_key(key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._ssl_context = ssl_context
        require_packages("the publisher", ("httpcore", "anyio"), "publisher")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _request(self, call: ApiCall[Any]) -> PortRequest:
        """Return the request for a call. Nothing is decoded that the server was not asked to pack."""
        from wsclient.publishing.transport import PortRequest

        headers = [("User-Agent", "wsctl"), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        if self._key is not None:
            headers.append(("Authorization", f"Bearer {self._key}"))
        if call.idempotency_key:
            headers.append(("Idempotency-Key", call.idempotency_key))
        if call.body:
            headers.append(("Content-Type", "application/json"))
        query = f"?{urlencode(call.parameters)}" if call.parameters else ""
        return PortRequest(call.method, f"{self.url}{call.path}{query}", headers, call.body)


class Publisher(_Place):
    """Publishes to, looks at and steers a running server from outside, by its operations port.

    Connections are kept; one publisher serves all threads of a process, and the processes that it forks.
    """

    _pool: httpcore.ConnectionPool | None = None
    _process = 0

    publish = _waiting(calls.publish)
    broadcast = _waiting(calls.broadcast)
    send = _waiting(calls.send)
    disconnect = _waiting(calls.disconnect)
    batch = _waiting(calls.batch)
    revoke = _waiting(calls.revoke)
    connections = _waiting(calls.connections)
    sessions = _waiting(calls.sessions)
    rooms = _waiting(calls.rooms)
    presence = _waiting(calls.presence)
    history = _waiting(calls.history)
    remove_history = _waiting(calls.remove_history)
    metrics = _waiting(calls.metrics)

    def close(self) -> None:
        """Close its connections; the next call opens others."""
        pool, self._pool = self._pool, None
        if pool is not None and self._process == os.getpid():
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _done(self, call: ApiCall[T]) -> T:
        tries = Tries(call, self.url, self._retries)
        while True:
            try:
                return tries.read(call, self._sent(call, tries))
            except OperationsError as error:
                pause_s = tries.failed(error)
            time.sleep(pause_s)

    def _sent(self, call: ApiCall[Any], tries: Tries) -> PortAnswer:
        from wsclient.publishing import transport

        # A connection that two processes write to would mix their requests.
        pool = self._pool
        if pool is None or self._process != os.getpid():
            self._pool = pool = transport.open_pool(self._ssl_context)
            self._process = os.getpid()
        try:
            return transport.ask(pool, self._request(call), self._timeout_s)
        except transport.FAILURES as error:
            raise tries.lost(error, self._timeout_s) from None


class AsyncPublisher(_Place):
    """As Publisher, for one event loop: its methods are awaited."""

    _pool: httpcore.AsyncConnectionPool | None = None

    publish = _awaiting(calls.publish)
    broadcast = _awaiting(calls.broadcast)
    send = _awaiting(calls.send)
    disconnect = _awaiting(calls.disconnect)
    batch = _awaiting(calls.batch)
    revoke = _awaiting(calls.revoke)
    connections = _awaiting(calls.connections)
    sessions = _awaiting(calls.sessions)
    rooms = _awaiting(calls.rooms)
    presence = _awaiting(calls.presence)
    history = _awaiting(calls.history)
    remove_history = _awaiting(calls.remove_history)
    metrics = _awaiting(calls.metrics)

    async def close(self) -> None:
        """Close its connections; the next call opens others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _done(self, call: ApiCall[T]) -> T:
        tries = Tries(call, self.url, self._retries)
        while True:
            try:
                return tries.read(call, await self._sent(call, tries))
            except OperationsError as error:
                pause_s = tries.failed(error)
            await asyncio.sleep(pause_s)

    async def _sent(self, call: ApiCall[Any], tries: Tries) -> PortAnswer:
        from wsclient.publishing import transport

        if self._pool is None:
            self._pool = transport.open_async_pool(self._ssl_context)
        try:
            return await transport.ask_async(self._pool, self._request(call), self._timeout_s)
        except transport.FAILURES as error:
            raise tries.lost(error, self._timeout_s) from None

"""One request and its answer over kept connections, within one time and one size: what the publishers ask by.

httpx's own transport is used without httpx: its client has a limit for each read and none for the whole, decodes what
nobody asked for, and looks into where a redirect would lead. See docs/adr/0014.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpcore

if TYPE_CHECKING:
    import ssl

MAX_ANSWER_BYTES: Final = 32 << 20  # four times what a server says at once
MAX_CONNECTIONS: Final = 32
IDLE_S: Final = 4.0  # the port ends its connections after 5
_PART_BYTES: Final = 64 << 10  # of a request: what is left of the time is looked at in between

# Until when (time.monotonic) the request may take that this thread or task is about.
_deadline: ContextVar[float] = ContextVar("_deadline")


class AnswerTooLargeError(Exception):
    """More came than any answer has."""


FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    AnswerTooLargeError,
)


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """What came: the status, and the body as it was sent."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, repr=False)
class PortRequest:
    """A request; its headers hold the key, so it has no repr."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes

    def arguments(self, timeout_s: float) -> dict[str, Any]:
        """Return what the pools take; only waiting for one of their connections is left for them to limit."""
        return {
            "method": self.method,
            "url": self.url,
            "headers": self.headers,
            "content": self.body,
            "extensions": {"timeout": {"pool": timeout_s}},
        }


def ask(pool: httpcore.ConnectionPool, request: PortRequest, timeout_s: float) -> PortAnswer:
    """Return the answer, whole within `timeout_s`; raises the errors of httpcore, and AnswerTooLargeError."""
    _deadline.set(time.monotonic() + timeout_s)
    body = bytearray()
    with pool.stream(**request.arguments(timeout_s)) as response:
        for part in response.iter_stream():
            _add(body, part)
    return PortAnswer(response.status, bytes(body))


async def ask_async(pool: httpcore.AsyncConnectionPool, request: PortRequest, timeout_s: float) -> PortAnswer:
    """Do the same in an event loop."""
    _deadline.set(time.monotonic() + timeout_s)
    body = bytearray()
    async with pool.stream(**request.arguments(timeout_s)) as response:
        async for part in response.aiter_stream():
            _add(body, part)
    return PortAnswer(response.status, bytes(body))


def open_pool(context: ssl.SSLContext | None) -> httpcore.ConnectionPool:
    """Return connections for threads."""
    return httpcore.ConnectionPool(**_options(context), network_backend=_Backend())


def open_async_pool(context: ssl.SSLContext | None) -> httpcore.AsyncConnectionPool:
    """Return connections for an event loop."""
    return httpcore.AsyncConnectionPool(**_options(context), network_backend=_AsyncBackend())


def _options(context: ssl.SSLContext | None) -> dict[str, Any]:
    return {
        "ssl_context": context,
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_CONNECTIONS,
        "keepalive_expiry": IDLE_S,
    }


def _add(body: bytearray, part: bytes) -> None:
    if len(body) + len(part) > MAX_ANSWER_BYTES:
        raise AnswerTooLargeError
    body += part


def _left_s(error: Callable[[], Exception]) -> float:
    """Return how much of the time is left; raises `error` if none is."""
    left_s = _deadline.get() - time.monotonic()
    if left_s <= 0:
        raise error()
    return left_s


class _Stream(httpcore.NetworkStream):
    """A connection whose steps take what is left of the time, and not the `timeout` that httpcore has for each."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PART_BYTES):
            self._stream.write(buffer[start : start + _PART_BYTES], _left_s(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left_s(httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens such connections."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> _Stream:
        left_s = _left_s(httpcore.ConnectTimeout)
        return _Stream(httpcore.SyncBackend().connect_tcp(host, port, left_s, local_address, socket_options))


class _AsyncStream(httpcore.AsyncNetworkStream):
    """The same for an event loop."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, _left_s(httpcore.ReadTimeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, _left_s(httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> _AsyncStream:
        left_s = _left_s(httpcore.ConnectTimeout)
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens such connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> _AsyncStream:
        left_s = _left_s(httpcore.ConnectTimeout)
        backend = httpcore.AnyIOBackend()
        return _AsyncStream(await backend.connect_tcp(host, port, left_s, local_address, socket_options))

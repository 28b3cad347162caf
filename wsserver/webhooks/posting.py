"""Posts to one URL, signed, over connections that are kept; what it answers is as foreign as what a client sends.

Its size is bounded, it is not decompressed, no redirect is followed, and no error repeats a word of it, or of the URL.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import httpcore

from wsserver.webhooks.settings import HookUrl
from wsserver.webhooks.signing import SigningKeys

MAX_ANSWER: Final = 64 << 10
KEPT_S: Final = 20.0  # how long a connection stays that nobody uses
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"wsctl"),
)


class BackendAnswer(NamedTuple):
    """What a backend has answered; `retry_after_s` is what it asks for, 0 if for nothing."""

    status: int
    body: bytes
    retry_after_s: int


class PostError(Exception):
    """A backend has not answered, or not in HTTP, or too much; it says what happened, and not where."""


class Poster:
    """Posts to a URL; `timeout_s` is for a request and its answer, `now_ms` the wall clock."""

    def __init__(
        self, target: HookUrl, keys: SigningKeys, now_ms: Callable[[], int], *, connections: int, timeout_s: float
    ) -> None:
        self._url = target.url
        self._keys = keys
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl.create_default_context() if target.url.startswith("https") else None,
            max_connections=connections,
            keepalive_expiry=KEPT_S,
        )

    async def post(self, message_id: str, body: bytes) -> BackendAnswer:
        """Return the answer, whatever its status is; raises PostError."""
        headers = [*_HEADERS, *self._keys.headers(message_id, self._now_ms() // 1000, body)]
        received = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool.stream("POST", self._url, headers=headers, content=body) as response,
            ):
                async for piece in response.aiter_stream():
                    received += piece
                    if len(received) > MAX_ANSWER:
                        raise PostError(f"it answered more than {MAX_ANSWER >> 10} KiB")
        except (TimeoutError, httpcore.TimeoutException):
            raise PostError(f"no answer within {self._timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise PostError(_problem(error)) from None
        except PostError:
            raise
        except Exception as error:  # a fault of the library is no reason to tell nobody of anything any more
            raise PostError(f"{type(error).__name__} in the HTTP client") from None
        return BackendAnswer(response.status, bytes(received), _retry_after_s(response.headers))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _problem(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not one to trust"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return "it cannot be reached"
    return "the connection was lost" if isinstance(error, httpcore.NetworkError | OSError) else "it does not speak HTTP"


def _retry_after_s(headers: Iterable[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 6:
            return int(value)
    return 0

"""One call, tried again where that can help and does no harm: what became of a try, and what comes next."""

from __future__ import annotations

import ipaddress
import os
import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from wsclient.publishing.calls import ApiCall
from wsclient.publishing.errors import (
    OperationRefusedError,
    OperationsError,
    OperationsKeyError,
    OperationsUnreachableError,
)
from wscore.errors import ConfigError
from wscore.operations import ApiErrorCode
from wscore.text import describe, neutralise
from wscore.units import format_figure

if TYPE_CHECKING:
    from wsclient.publishing.transport import PortAnswer

T = TypeVar("T")

DEFAULT_OPS_URL: Final = "http://127.0.0.1:9100"
URL_VARIABLE: Final = "WSCTL_OPS_URL"
KEY_VARIABLE: Final = "WSCTL_OPS_KEY"
FIRST_PAUSE_S: Final = 0.2  # each further one is twice as long, and none is shorter than half of it
_NOT_DONE: Final = {ApiErrorCode.NOT_READY.value, ApiErrorCode.NOT_PUBLISHED.value, ApiErrorCode.BUSY.value}
# What a proxy says in place of a server that it does not reach.
_GATEWAY: Final = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_DENIED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}


class _Said(msgspec.Struct, frozen=True):
    """An error of a server that may be newer than this: any code."""

    code: str
    message: str
    place: str | None = None


class _SaidBody(msgspec.Struct, frozen=True):
    """The body with it."""

    error: _Said


class Tries:
    """The tries of one call to the port at `url`, one and at most `retries` more."""

    __slots__ = ("_call", "_left", "_pause_s", "_url", "_was_unknown")

    def __init__(self, call: ApiCall[T], url: str, retries: int) -> None:
        self._call = call
        self._url = url
        self._left = retries
        self._pause_s = FIRST_PAUSE_S
        self._was_unknown = False

    def failed(self, error: OperationsError) -> float:
        """Return after how many seconds to try it again; raises `error` if that is of no use."""
        self._was_unknown = self._was_unknown or error.is_unknown
        if isinstance(error, OperationRefusedError):
            may_help = error.code in _NOT_DONE
        else:  # the key makes sure that what was done is not done again; without one it could be
            may_help = bool(self._call.idempotency_key) or not error.is_unknown
        if not may_help or self._left == 0:
            error.is_unknown = self._was_unknown
            raise error
        self._left -= 1
        pause_s = self._pause_s * random.uniform(0.5, 1)  # noqa: S311 - so that not all come back at once
        self._pause_s *= 2
        return pause_s

    def lost(self, error: Exception, timeout_s: float) -> OperationsUnreachableError:
        """Return what it means that no answer came."""
        import httpcore

        from wsclient.publishing.transport import MAX_ANSWER_BYTES, AnswerTooLargeError

        is_before = isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.PoolTimeout)
        if isinstance(error, httpcore.TimeoutException):
            problem = f"no whole answer came within {format_figure(timeout_s)} s"
        elif isinstance(error, AnswerTooLargeError):
            problem = f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB"
            self._left = 0
        else:
            problem = _cause(error)
        return self._unreachable(problem, is_unknown=not is_before)

    def read(self, call: ApiCall[T], answer: PortAnswer) -> T:
        """Return what was answered; raises OperationsError."""
        if answer.status == HTTPStatus.OK:
            try:
                return call.read(answer.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise self._unreachable("what came is none of its answers", is_unknown=True) from None
        try:
            said = msgspec.json.decode(answer.body, type=_SaidBody).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._strange(answer.status)
        kind = OperationsKeyError if answer.status in _DENIED else OperationRefusedError
        error = kind(said.code, said.message, said.place, answer.status)
        error.is_unknown = call.is_act and said.code in (ApiErrorCode.UNKNOWN_OUTCOME, ApiErrorCode.INTERNAL)
        raise error

    def _strange(self, status: int) -> NoReturn:
        """Raise what an answer means that is not of the port: of a proxy, or of something else at this place."""
        if status in _DENIED:
            raise OperationsKeyError(f"HTTP {status}", "who answered wants other credentials", None, status)
        unknown = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        error = self._unreachable(f"HTTP {status}, which is none of its answers", is_unknown=unknown)
        if status not in _GATEWAY:
            self._left = 0
        raise error

    def _unreachable(self, problem: str, *, is_unknown: bool) -> OperationsUnreachableError:
        error = OperationsUnreachableError(self._url, problem)
        error.is_unknown = is_unknown and self._call.is_act
        return error


def _cause(error: BaseException) -> str:
    """Return why a connection failed, as the system said it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return describe(cause)
        # anyio tries all addresses of a name, and tells of each.
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return "the connection ended before the answer"


def checked_url(url: str | None, source: str = "the URL of the operations port") -> str:
    """Return where the port is: as given, else as WSCTL_OPS_URL says, without a slash at its end.

    Raises ConfigError for what is no place of a port.
    """
    source = source if url is not None else URL_VARIABLE
    text = url if url is not None else os.environ.get(URL_VARIABLE) or DEFAULT_OPS_URL
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and _is_host(parts) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not text.isprintable() or not text.isascii():
        raise ConfigError(source, f"{neutralise(text)!r} is no http:// or https:// URL", f"such as {DEFAULT_OPS_URL}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(source, "has more than a host, a port and a path", f"the key goes into {KEY_VARIABLE}")
    return text.rstrip("/")


def _is_host(parts: SplitResult) -> bool:
    """Return whether there is a host that can be looked up or dialled; raises ValueError where no resolver takes it."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return bool(ipaddress.IPv6Address(host.partition("%")[0]))
    return bool(host.encode("idna"))


def checked_key(key: str | None) -> str | None:
    """Return the key: as given, else of WSCTL_OPS_KEY, None if there is none.

    Raises ConfigError, which shows nothing of it.
    """
    source = "the key of the operations port" if key is not None else KEY_VARIABLE
    text = key if key is not None else os.environ.get(KEY_VARIABLE, "")
    if key is None and not text:
        return None
    words = text.split()
    if len(words) != 1 or not words[0].isascii() or not words[0].isprintable():
        raise ConfigError(source, "is not one word in plain ASCII")
    return words[0]

"""The body and the query string of a request, within limits, as what they should be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from wscore.jsonvalues import MAX_DEPTH, is_too_deep
from wscore.operations import ApiErrorCode
from wscore.rooms import in_words
from wsserver.operations.port.pages import Parameters
from wsserver.operations.problems import ApiError

MAX_BODY_BYTES: Final = 1 << 20
MAX_BODY_DEPTH: Final = MAX_DEPTH + 4  # the data of an act of a batch stands three levels deep
BODIES_IN_ALL: Final = 16 << 20
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([^\";\s]*)")
_PLACE: Final = re.compile(r" - at `(\$.*)`$")

P = TypeVar("P", bound=Parameters)
T = TypeVar("T")


class Bodies:
    """Reads bodies: one of at most 1 MiB, and all that are read or worked on at a time of 16 MiB together."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0

    async def read(self, request: Request) -> bytes:
        """Return a body, which counts until `release`; raises ApiError."""
        kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
        if kind.strip() != "application/json":
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "The body has to be JSON, and its Content-Type to say so.")
        charset = _CHARSET.search(parameters)
        if charset is not None and charset[1] not in ("utf-8", "utf8"):
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "The body has to be in UTF-8.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "The body has to come as it is, without a Content-Encoding.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 10 or int(declared) > MAX_BODY_BYTES):
            raise _too_large()
        body = bytearray()
        try:
            async for chunk in request.stream():
                if len(body) + len(chunk) > MAX_BODY_BYTES:
                    raise _too_large()
                if self.used + len(chunk) > BODIES_IN_ALL:
                    raise ApiError(ApiErrorCode.BUSY, "Too many large requests at a time; try it again.")
                self.used += len(chunk)
                body += chunk
        except BaseException:
            self.used -= len(body)
            raise
        return bytes(body)

    def release(self, body: bytes) -> None:
        """Count a body no more."""
        self.used -= len(body)


def parsed(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Return what a body says; raises ApiError with the place of what is wrong.

    Raw data goes on as it is: it is UTF-8, and not too deep for whoever reads it.
    """
    try:
        str(body, "utf-8")  # msgspec does not look into what it leaves raw
        if is_too_deep(body, MAX_BODY_DEPTH):
            raise ApiError(ApiErrorCode.INVALID_REQUEST, f"A body has at most {MAX_BODY_DEPTH} levels.", "$")
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _invalid(error) from None
    except UnicodeDecodeError:
        raise ApiError(ApiErrorCode.INVALID_REQUEST, "The body is not UTF-8.") from None


async def while_wanted(request: Request, looking: Awaitable[T]) -> T:
    """Return what is looked for; raises ClientDisconnect, and looks no further, once nobody waits for it."""
    found, gone = asyncio.ensure_future(looking), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((found, gone), return_when=asyncio.FIRST_COMPLETED)
        if not found.done():
            raise ClientDisconnect
        return found.result()
    finally:
        found.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # a part of a body that nobody asked for


def parameters(request: Request, kind: type[P]) -> P:
    """Return what the query string says; raises ApiError with the place of what is wrong."""
    items = request.query_params.multi_items()
    given = dict(items)
    if len(given) != len(items):
        raise ApiError(ApiErrorCode.INVALID_REQUEST, "Each parameter is given once.")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: Exception) -> ApiError:
    text = in_words(str(error))
    place = _PLACE.search(text)
    message = text if place is None else text[: place.start()]
    return ApiError(ApiErrorCode.INVALID_REQUEST, f"{message}.", "$" if place is None else place[1])


def _too_large() -> ApiError:
    return ApiError(ApiErrorCode.TOO_LARGE, f"A body has at most {MAX_BODY_BYTES} bytes.")

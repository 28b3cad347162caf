"""Answers in JSON, and errors as the API tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wscore.operations import ApiErrorCode, ErrorBody, Problem
from wsserver.operations.problems import STATUS, ApiError

JSON: Final = "application/json"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
JSON_HEADERS: Final = {**_HEADERS, "Content-Type": JSON}

UNSENT: Final = "unsent"  # of a request's state: what tells how many bytes wait for their readers, all together
LARGE: Final = 64 << 10  # bytes
MAX_UNSENT_BYTES: Final = 32 << 20

_AFTER_READING: Final = (
    ApiErrorCode.INVALID_REQUEST,
    ApiErrorCode.CONFLICT,
    ApiErrorCode.NOT_PUBLISHED,
    ApiErrorCode.NOT_READY,
    ApiErrorCode.UNKNOWN_OUTCOME,
)

encode: Final = msgspec.json.Encoder().encode


def reply(answer: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer."""
    return Response(encode(answer), status, {**_HEADERS, **(headers or {})}, JSON)


def check_unsent(request: Request, size: int) -> None:
    """Raise ApiError for an answer that there is no room for: those that wait for their readers take so much."""
    if size > LARGE and request.scope["state"][UNSENT]() + size > MAX_UNSENT_BYTES:
        raise ApiError(ApiErrorCode.BUSY, "Too many large answers wait to be read; try it again.")


def text(words: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Response:
    """Return an answer in plain text."""
    return Response(words.encode(), status, _HEADERS, content_type)


def page(html: str, policy: str) -> Response:
    """Return a page with its content security policy."""
    return Response(html.encode(), 200, {**_HEADERS, "Content-Security-Policy": policy}, "text/html; charset=utf-8")


def refusal(problem: Problem) -> Response:
    """Return an error. The connection ends with one that came before the whole request was read."""
    headers = {} if problem.code in _AFTER_READING else {"Connection": "close"}
    if problem.code is ApiErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return reply(ErrorBody(problem), STATUS[problem.code], headers)

"""Answers in JSON, and errors as the API tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

from wscore.operations import ApiErrorCode, ErrorBody, Problem
from wsserver.operations.problems import STATUS

JSON: Final = "application/json"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
JSON_HEADERS: Final = {**_HEADERS, "Content-Type": JSON}

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

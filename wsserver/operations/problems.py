"""What the API says when something is not done: typed, with its place in what was asked, and no traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from wscore.errors import WsctlError
from wscore.operations import ApiErrorCode, Problem

FAILED: Final = "The server failed; its log says how."
STATUS: Final = {
    ApiErrorCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    ApiErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ApiErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ApiErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ApiErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ApiErrorCode.TIMED_OUT: HTTPStatus.REQUEST_TIMEOUT,
    ApiErrorCode.CONFLICT: HTTPStatus.CONFLICT,
    ApiErrorCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ApiErrorCode.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    ApiErrorCode.NOT_PUBLISHED: HTTPStatus.SERVICE_UNAVAILABLE,
    ApiErrorCode.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    ApiErrorCode.UNKNOWN_OUTCOME: HTTPStatus.GATEWAY_TIMEOUT,
    ApiErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ApiError(WsctlError):
    """Something that was asked for is not done."""

    def __init__(self, code: ApiErrorCode, message: str, place: str | None = None) -> None:
        super().__init__(code, message, place)
        self.problem = Problem(code, message, place)

    def __str__(self) -> str:
        return self.problem.message

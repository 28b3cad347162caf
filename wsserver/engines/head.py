"""Reads the head of an HTTP request, for both engines: what it refuses is no request, or larger than one has to be."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from wscore.errors import WsctlError
from wsserver.engines.request import HandshakeRequest

MAX_HEAD_BYTES: Final = 32 << 10  # room for a token of 8192 characters, and all that proxies and browsers add
MAX_REQUEST_LINE_BYTES: Final = 16 << 10
MAX_HEADER_LINE_BYTES: Final = 8192
MAX_HEADERS: Final = 128
END_OF_LINE: Final = b"\r\n"
END: Final = END_OF_LINE * 2

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_METHOD: Final = re.compile(_TOKEN)
# Possessive, so that what does not match is found out in one pass (RFC 9112 sections 3 and 5; no line folding).
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb"++) ([!-~]++) HTTP/([0-9])\.([0-9])")
_HEADERS: Final = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_FIELD: Final = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)")  # of headers that are known to be well formed


class HeadError(WsctlError):
    """Something that gets a plain HTTP answer with `status`."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


def begins_request(data: bytes | bytearray) -> bool:
    """Tell whether a request may begin with these bytes."""
    return _METHOD.match(data) is not None


def parse_head(head: bytes) -> HandshakeRequest:
    """Read a request's head, without the empty line that ends it; raises HeadError.

    Bytes beyond ASCII in a header are its own (latin-1), as RFC 9110 section 5.5 has it for what is not known better.
    """
    line, _, rest = head.partition(END_OF_LINE)
    if len(line) > MAX_REQUEST_LINE_BYTES:
        raise HeadError(HTTPStatus.REQUEST_URI_TOO_LONG, f"request line over {MAX_REQUEST_LINE_BYTES} bytes")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HeadError(HTTPStatus.BAD_REQUEST, "not an HTTP request")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        raise HeadError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    lines = rest.split(END_OF_LINE) if rest else []
    if len(lines) > MAX_HEADERS or max(map(len, lines), default=0) > MAX_HEADER_LINE_BYTES:
        raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many or too long header lines")
    if lines and _HEADERS.fullmatch(rest + END_OF_LINE) is None:
        raise HeadError(HTTPStatus.BAD_REQUEST, "malformed header line")
    try:
        return HandshakeRequest(
            target.decode("ascii"),
            _FIELD.findall(rest.decode("latin-1")),
            method=method.decode("ascii"),
            may_upgrade=minor == b"1",
        )
    except ValueError:
        raise HeadError(HTTPStatus.BAD_REQUEST, "bad request target") from None

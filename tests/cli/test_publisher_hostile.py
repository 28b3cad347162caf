"""What a hostile server in the place of an operations port does to `wsclient.Publisher` and its twin: an error."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.cli.conftest import HANG_S
from wsclient import AsyncPublisher, OperationsKeyError, OperationsUnreachableError, Publisher

KEY = "0123456789abcdef-operator"


def head_of(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@contextmanager
def hostile(head: bytes, part: bytes = b"", pause_s: float = 0.0) -> Iterator[str]:
    """A server that answers with `head`, and then with `part` again and again until nobody listens."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(head)
                while part:
                    connection.sendall(part)
                    time.sleep(pause_s)
                connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(HANG_S)


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
HOSTILE: dict[str, tuple[tuple[Any, ...], str]] = {
    "body in drops": ((LONG, b" ", 0.01), r"no whole answer came within 0\.5 s"),
    "head in drops": ((b"HTTP/1.1 200 OK\r\nX: ", b"a", 0.01), r"no whole answer came within 0\.5 s"),
    "continue for ever": ((b"", b"HTTP/1.1 100 Continue\r\n\r\n"), r"no whole answer came within 0\.5 s"),
    "1 GiB": ((LONG, b"x" * (1 << 20)), "the answer is larger than 32 MiB|no whole answer came"),
    "not packed at all": (
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk",),
        "none of its answers",
    ),
    "leads to nowhere": (
        (b"HTTP/1.1 302 X\r\nLocation: http://xn--\x80/\r\nContent-Length: 0\r\n\r\n",),
        "HTTP 302, which is none",
    ),
    "deep": (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200014\r\n\r\n" + b'{"messages": ' + b"[" * 200_001,),
        "none of its answers",
    ),
    "a deep refusal": (
        (b"HTTP/1.1 400 X\r\nContent-Length: 200014\r\n\r\n" + b'{"error":    ' + b"[" * 200_001,),
        "HTTP 400, which is none",
    ),
}


@pytest.mark.parametrize("answer", HOSTILE)
def test_a_hostile_answer_is_an_error_within_the_time(answer):
    sent, problem = HOSTILE[answer]
    with hostile(*sent) as url, Publisher(url, KEY, timeout_s=0.5, retries=0) as publisher:
        with pytest.raises(OperationsUnreachableError, match=problem) as failed:
            publisher.history(room="a")
        assert KEY not in str(failed.value)


def test_what_a_server_says_is_shown_without_its_control_codes():
    words = "\x1b]0;x\x07\u202e"
    body = json.dumps({"error": {"code": words, "message": words, "place": words}}).encode()
    with hostile(head_of(403, body)) as url, Publisher(url) as publisher:
        with pytest.raises(OperationsKeyError) as refused:
            publisher.rooms()
        assert str(refused.value).isprintable()
        assert refused.value.message == words


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        (b'{"messages":[5]}', lambda publisher: publisher.history(room="a")),
        (b'{"rooms":[{"name":"a","connections":1e308}],"missing":[]}', lambda publisher: publisher.rooms()),
        (b'{"seq":' + b"9" * 400 + b',"epoch":"e"}', lambda publisher: publisher.publish("x", room="a")),
        (b'{"expiresAtMs":1e18}', lambda publisher: publisher.revoke(jti="x")),
    ],
)
def test_an_answer_that_is_none_is_told_as_that(body, ask):
    with (
        hostile(head_of(200, body)) as url,
        Publisher(url, retries=0) as publisher,
        pytest.raises(OperationsUnreachableError, match="none of its answers"),
    ):
        ask(publisher)


@pytest.mark.parametrize("answer", HOSTILE)
async def test_a_hostile_answer_is_the_same_error_where_it_is_awaited(answer):
    sent, problem = HOSTILE[answer]
    with hostile(*sent) as url:
        async with AsyncPublisher(url, KEY, timeout_s=0.5, retries=0) as publisher:
            with pytest.raises(OperationsUnreachableError, match=problem):
                await publisher.history(room="a")

"""A backend that webhooks are posted to: it verifies what comes with a library that is not ours."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIDMyIGJ5dGVzIGZvciB0aGUgdGVzdHM="
HANG_S = 30


class Posted:
    """One request, verified."""

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.id = self.headers["webhook-id"]
        self.raw = body
        self.body: Any = Webhook(SECRET).verify(body, headers)

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.body["data"]["events"]


class Backend:
    """Answers 204, or what `answers` has next: a status, or what writes to the handler itself."""

    def __init__(self) -> None:
        self.posted: queue.Queue[Posted] = queue.Queue()
        self.answers: list[Any] = []
        self.failures: list[Exception] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    backend.posted.put(Posted(dict(self.headers), body))
                except Exception as error:
                    backend.failures.append(error)
                answer = backend.answers.pop(0) if backend.answers else 204
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - the name that the base class looks for

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def next(self) -> Posted:
        assert not self.failures, self.failures
        return self.posted.get(timeout=HANG_S)

    def events(self, count: int) -> list[dict[str, Any]]:
        """Return the next so many events, of as many requests as they take."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            found += self.next().events
        assert len(found) == count, found
        return found

    def __enter__(self) -> Backend:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def backends(count: int) -> Iterator[list[Backend]]:
    started = [Backend().__enter__() for _ in range(count)]
    try:
        yield started
    finally:
        for backend in started:
            backend.__exit__()

"""A connection to a backend: requests over HTTP/1.1 and their answers, one after another, and nothing in between.

Whatever comes without being asked for ends it: it would be taken for the answer to the next request, which may be about
somebody else. What a backend answers is as foreign as what a client sends: it is bounded and read where it comes.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, NamedTuple, cast

import h11

MAX_ANSWER: Final = 64 << 10
MAX_HEAD: Final = 16 << 10
# All bytes of an answer: the size of a chunk may be written in a hundred, and "100 Continue" may come any number of
# times.
MAX_OCTETS: Final = MAX_ANSWER + 2 * MAX_HEAD
MAX_PARTS: Final = 512  # chunks and "100 Continue": each costs the loop as much as a page of text
_TOO_MUCH: Final = f"it answered more than {MAX_ANSWER >> 10} KiB"
_PIECE: Final = 4 << 10  # what is worked off before the bounds are looked at again


class BackendAnswer(NamedTuple):
    """What a backend has answered; `retry_after_s` is what it asks for, 0 if for nothing."""

    status: int
    body: bytes
    retry_after_s: int


class PostError(Exception):
    """A backend has not answered, or not in HTTP, or too much; it says what happened, and not where."""


class NoAnswerError(PostError):
    """The connection has ended before a byte of the answer, as one does that a backend has not kept any longer."""


class BackendConnection(asyncio.Protocol):
    """One connection, as asyncio makes it; `is_free` tells whether the next request may take it."""

    __slots__ = ("_answer", "_body", "_http", "_octets", "_parts", "_response", "_transport", "is_free")

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[BackendAnswer] | None = None
        self._response: h11.Response | None = None
        self._body = bytearray()
        self._octets = 0
        self._parts = 0
        self.is_free = False

    async def ask(self, request: h11.Request, body: bytes) -> BackendAnswer:
        """Return the answer to a request; raises PostError. A connection that is given up is closed."""
        assert self._transport is not None
        self.is_free = False
        self._answer = asyncio.get_running_loop().create_future()
        self._response, self._body, self._octets = None, bytearray(), 0
        self._parts = 0
        try:
            if self._transport.is_closing():
                raise NoAnswerError("the connection was lost")
            events = (request, h11.Data(body), h11.EndOfMessage())
            self._transport.write(b"".join(self._http.send(event) or b"" for event in events))
            return await self._answer
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Hang up."""
        self.is_free = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have it at hand."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no class of asyncio
        self.is_free = True

    def data_received(self, data: bytes) -> None:
        """Read what has come, if anybody has asked for it."""
        if self._answer is None or self._answer.done():
            self._end(None)
            return
        for start in range(0, len(data), _PIECE):
            if self._answer.done():  # and there is more, or there was too much
                self._end(None)
                return
            self._feed(data[start : start + _PIECE])

    def eof_received(self) -> None:
        """Take the end for that of an answer that has no other."""
        self.is_free = False
        if self._answer is not None and self._octets:
            self._feed(b"")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        self._end(PostError("the connection was lost") if self._octets else NoAnswerError("the connection was lost"))

    def _feed(self, data: bytes) -> None:
        self._octets += len(data)
        try:
            self._http.receive_data(data)
            self._read()
        except h11.ProtocolError:
            self._end(PostError("it does not speak HTTP" if data else "the connection was lost"))
        except PostError as error:
            self._end(error)

    def _read(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                self._response = event
                if _declared(event) > MAX_ANSWER:  # nobody waits for what would be refused
                    raise PostError(_TOO_MUCH)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_ANSWER:
                    raise PostError(_TOO_MUCH)
            elif isinstance(event, h11.EndOfMessage):
                self._finish()
                return
            elif not isinstance(event, h11.InformationalResponse):  # no more for now
                break
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise PostError(f"it answered in more than {MAX_PARTS} parts")
        if self._response is None and self._octets > MAX_HEAD:
            raise PostError(f"its answer begins with more than {MAX_HEAD >> 10} KiB of head")
        if self._octets > MAX_OCTETS:
            raise PostError(_TOO_MUCH)

    def _finish(self) -> None:
        """Hand the answer over, and get ready for the next request if nothing stands behind it."""
        response, http = self._response, self._http
        assert response is not None
        assert self._answer is not None
        names = {name for name, _ in response.headers}
        # One that names two lengths may have ended elsewhere for somebody between (RFC 9112 section 6.3).
        is_clean = http.trailing_data == (b"", False) and not names >= {b"content-length", b"transfer-encoding"}
        if is_clean and http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
            self.is_free = True
        else:
            self.close()
        if not self._answer.done():
            self._answer.set_result(BackendAnswer(response.status_code, bytes(self._body), _retry_after_s(response)))
        self._body = bytearray()

    def _end(self, error: PostError | None) -> None:
        self.is_free = False
        if self._answer is not None and not self._answer.done() and error is not None:
            self._answer.set_exception(error)
        self._body = bytearray()
        if self._transport is not None:
            self._transport.abort()


def problem_of(error: Exception) -> str:
    """Return why no connection was made, in words that hold nothing of where."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not one to trust"
    return "TLS failed" if isinstance(error, ssl.SSLError) else "it cannot be reached"


def _declared(response: h11.Response) -> int:
    """Return how long an answer says that it is, 0 where it says nothing; h11 has checked that it is a number."""
    return int(dict(response.headers).get(b"content-length", 0))


def _retry_after_s(response: h11.Response) -> int:
    for name, value in response.headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 6:
            return int(value)
    return 0

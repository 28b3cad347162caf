"""The first frame of a connection: the session it opens, or the refusal that comes in its place."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsclient.dialling import End, read_envelope
from wsclient.errors import AuthenticationRefusedError, ConnectionClosedError, ConnectionFailedError, ServerError
from wsclient.replies import server_error
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import InvalidMessageError, decode_data
from wscore.payloads import SessionCreated
from wscore.units import format_figure

if TYPE_CHECKING:
    from wsclient.clientsocket import ClientSocket


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first frame of a connection and the session it opened, which a server of another make may not have."""

    socket: ClientSocket
    text: str
    session: SessionCreated | None

    @property
    def silence_s(self) -> float | None:
        """How long the server may be silent, in seconds, if it said so."""
        return None if self.session is None else self.session.heartbeat.timeout_ms / 1000


async def greet(socket: ClientSocket, shown_url: str, timeout_s: float) -> Greeting:
    """Wait for the greeting.

    Raises AuthenticationRefusedError for a refused token, ConnectionClosedError when the server closes for
    another reason, ConnectionFailedError when neither comes within `timeout_s` or the greeting is malformed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            first = await socket.receive()
            if isinstance(first, End):
                raise _refusal(first, None)
            envelope = read_envelope(first)
            if envelope is not None and envelope.type == "error":
                error = server_error(envelope)
                raise _refusal(await _end_of(socket), error)
            if envelope is not None and envelope.type == "session_created":
                return Greeting(socket, first, decode_data(envelope.data, SessionCreated))
            return Greeting(socket, first, None)
    except TimeoutError:
        problem = f"no greeting within {format_figure(timeout_s)} s; is this a wsctl server?"
    except InvalidMessageError as error:
        problem = f"its greeting is malformed: {error}"
    raise ConnectionFailedError(shown_url, problem)


async def _end_of(socket: ClientSocket) -> End:
    while True:
        frame = await socket.receive()
        if isinstance(frame, End):
            return frame


def _refusal(end: End, error: ServerError | None) -> Exception:
    if end.code != CloseCode.AUTH_FAILED:
        return ConnectionClosedError(end.code, end.reason if error is None else error.message)
    if error is None:
        return AuthenticationRefusedError(ErrorCode.AUTH_INVALID, end.reason or "closed with 4001")
    return AuthenticationRefusedError(error.code, error.message)

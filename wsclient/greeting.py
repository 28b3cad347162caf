"""How a connection begins: what is sent first, and the frames until it is ready or refused (design section 13)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wsclient.dialling import End
from wsclient.errors import AuthenticationRefusedError, ConnectionClosedError, ConnectionFailedError, ServerError
from wsclient.replies import server_error
from wscore.codes import CloseCode, ErrorCode
from wscore.envelope import InvalidMessageError, decode_data
from wscore.foreign import Adapter, Frame, Kind, Reading, is_ours
from wscore.foreign.settings import ProtocolName
from wscore.payloads import SessionCreated
from wscore.text import neutralise
from wscore.units import format_figure

if TYPE_CHECKING:
    from wsclient.clientsocket import ClientSocket

FIRST_FRAME_S: Final = 0.3  # so long what is to be sent waits for a frame that tells a wsctl server


_GREETING: Final = Kind.GREETING


@dataclass(slots=True, eq=False)
class Greeting:
    """A connection that is ready: by what it is read, the session it opened, and the frames so far with their way.

    `is_presumed` to be of wsctl is a server whose URL says so, until its first frame. `silence_s` is how long the
    server may be silent, if it said so. `is_open_minded` while the first frame may still show a wsctl server, `is_ours`
    once it is known to be one.
    """

    socket: ClientSocket
    adapter: Adapter
    is_presumed: bool = False
    session: SessionCreated | None = None
    silence_s: float | None = None
    is_open_minded: bool = False
    frames: list[tuple[bool, Frame]] = field(default_factory=list)
    is_ours: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_ours = self.adapter.name == ProtocolName.WSCTL

    def read(self, frame: Frame, ours: Adapter) -> Reading:
        """Read a frame; the first one may show that the server is one of `ours` after all.

        Raises InvalidMessageError for a greeting that is malformed.
        """
        if self.is_open_minded:
            self.is_open_minded = self.is_presumed = False
            if is_ours(frame):
                self.adapter, self.is_ours = ours, True
        reading = self.adapter.read(frame)
        if reading.silence_s is not None:
            self.silence_s = reading.silence_s
        if self.is_ours and reading.kind is _GREETING and reading.message is not None:
            self.session = decode_data(reading.message.data, SessionCreated)
        return reading


async def greet(greeting: Greeting, ours: Adapter, shown_url: str, timeout_s: float) -> None:
    """Send what goes first, and wait until the connection is ready.

    Raises AuthenticationRefusedError for a refused token, ConnectionClosedError when the server closes for another
    reason, ConnectionFailedError when it is not ready within `timeout_s`, or the server refuses, or its greeting is
    malformed.
    """
    adapter = greeting.adapter
    greeting.is_open_minded = adapter.name == ProtocolName.AUTO
    try:
        async with asyncio.timeout(timeout_s):
            for frame in adapter.first:
                await _send(greeting, frame)
            if adapter.awaits_greeting:
                while await _next(greeting, ours) is not Kind.GREETING:
                    pass
            elif greeting.is_open_minded:
                await _first_frame(greeting, ours)
            return
    except TimeoutError:
        problem = f"no greeting within {format_figure(timeout_s)} s; {_doubt(adapter)}"
    except InvalidMessageError as error:
        problem = f"its greeting is malformed: {error}"
    except _RefusedError as error:
        problem = str(error)
    raise ConnectionFailedError(shown_url, problem)


def _doubt(adapter: Adapter) -> str:
    name = adapter.name
    return f"is this a {name} server?" if name == ProtocolName.WSCTL else f"does it speak {name}, at this path?"


async def _first_frame(greeting: Greeting, ours: Adapter) -> None:
    """Wait a moment for a frame that shows a wsctl server, which then greets or refuses."""
    try:
        async with asyncio.timeout(FIRST_FRAME_S):
            await _next(greeting, ours)
    except TimeoutError:
        return


async def _next(greeting: Greeting, ours: Adapter) -> Kind:
    """Take the next frame; raises what the end of the connection means."""
    frame = await greeting.socket.receive()
    if isinstance(frame, End):
        raise _refusal(frame, None, is_ours=greeting.is_ours or greeting.is_presumed)
    greeting.frames.append((False, frame))
    reading = greeting.read(frame, ours)
    if reading.answer is not None:
        await _send(greeting, reading.answer)
    if reading.kind is Kind.REFUSAL:
        await _refuse(greeting, reading)
    return reading.kind


async def _send(greeting: Greeting, frame: Frame) -> None:
    if await greeting.socket.send(frame):
        greeting.frames.append((True, frame))


async def _refuse(greeting: Greeting, reading: Reading) -> None:
    """Raise why the server refuses; one of ours closes after it, with the code that tells."""
    assert reading.message is not None
    if greeting.is_ours:
        error = server_error(reading.message)
        raise _refusal(await _end_of(greeting.socket), error, is_ours=True)
    said = neutralise(bytes(reading.message.data).decode(errors="replace")[:500])
    raise _RefusedError(f"the server refused: {reading.message.type} {said}".strip())


class _RefusedError(Exception):
    """A server of another make refused, in its own words."""


async def _end_of(socket: ClientSocket) -> End:
    while True:
        frame = await socket.receive()
        if isinstance(frame, End):
            return frame


def _refusal(end: End, error: ServerError | None, *, is_ours: bool) -> Exception:
    if not is_ours or end.code != CloseCode.AUTH_FAILED:
        return ConnectionClosedError(end.code, end.reason if error is None else error.message, is_ours=is_ours)
    if error is None:
        return AuthenticationRefusedError(ErrorCode.AUTH_INVALID, end.reason or "closed with 4001")
    return AuthenticationRefusedError(error.code, error.message)

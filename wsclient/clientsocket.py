"""One WebSocket from dialling to its end; reconnecting is not its business."""

from __future__ import annotations

import asyncio

from websockets.exceptions import ConnectionClosed

from wsclient.dialling import DialOptions, End
from wsclient.errors import NoReplyError, NotConnectedError
from wsclient.opening import ObservedConnection, Tell, open_websocket
from wscore.codes import CloseCode
from wscore.foreign import Frame
from wscore.heartbeat import loop_stalled
from wscore.units import format_figure


class ClientSocket:
    """An open WebSocket."""

    __slots__ = ("_close_timeout_s", "_pings", "_ws")

    def __init__(self, ws: ObservedConnection, options: DialOptions) -> None:
        self._ws = ws
        self._pings = options.pings
        self._close_timeout_s = options.close_timeout_s

    @classmethod
    async def dial(cls, url: str, shown_url: str, options: DialOptions, tell: Tell | None = None) -> ClientSocket:
        """Connect to `url`; errors mention `shown_url`, which has no token in it. `tell` gets the handshake.

        Raises ConnectionFailedError.
        """
        return cls(await open_websocket(url, shown_url, options, tell), options)

    async def receive(self, silence_s: float | None = None) -> Frame | End:
        """Return the next frame, text or binary, or how the connection ended; silence ends it.

        A loop that stood still for longer than `silence_s` reads first what came in meanwhile.
        """
        while True:
            try:
                async with asyncio.timeout(self._pings.wait_s(silence_s)) as silence:
                    return await self._ws.recv()
            except ConnectionClosed as closed:
                return _end(closed)
            except TimeoutError:
                if _is_late(silence) or (self._pings.may_ask(silence_s) and await self._answers()):
                    continue
                self.abort()
                silent_s = silence_s if not self._pings.may_ask(silence_s) else self._pings.patience_s
                return End(CloseCode.ABNORMAL, f"no sign of life from the server for {format_figure(silent_s or 0)} s")

    async def send(self, frame: Frame, timeout_s: float | None = None) -> bool:
        """Send a frame, a binary one of bytes; returns False if the connection is gone.

        A server that reads nothing for `timeout_s` is gone too, unless the loop stood still: the frame waits then.
        """
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                await self._ws.send(frame)
        except ConnectionClosed:
            return False
        except TimeoutError:
            if _is_late(deadline):
                return True
            self.abort()
            return False
        return True

    async def ping(self, timeout_s: float) -> float:
        """Send a WebSocket ping and return its round trip in ms.

        Raises NotConnectedError if the connection is gone, NoReplyError without a pong in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await (await self._ws.ping()) * 1000
        except ConnectionClosed:
            raise NotConnectedError from None
        except TimeoutError:
            raise NoReplyError("pong", timeout_s) from None

    async def _answers(self) -> bool:
        """Send a ping; returns whether anything comes in time, the loop standing still aside."""
        while True:
            try:
                async with asyncio.timeout(self._pings.timeout_s) as patience:
                    await self._ws.ping()
                    await self._ws.heard()
            except ConnectionClosed:
                return True  # `recv` tells how it ended
            except TimeoutError:
                if not _is_late(patience):
                    return False
            else:
                return True

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close, waiting a bounded time for the server's answer; cancelled, it drops the connection."""
        try:
            async with asyncio.timeout(self._close_timeout_s):  # the library gives a server that reads nothing more
                await self._ws.close(code, reason)
        except TimeoutError:
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the connection at once, as when the server shows no sign of life."""
        self._ws.transport.abort()


def _is_late(timeout: asyncio.Timeout) -> bool:
    """Tell whether a time-out that struck was held up by the loop, so that it says nothing about the server."""
    return loop_stalled((timeout.when() or 0) * 1000, asyncio.get_running_loop().time() * 1000)


def _end(closed: ConnectionClosed) -> End:
    if closed.rcvd is not None:
        return End(closed.rcvd.code, closed.rcvd.reason)
    if closed.sent is not None and closed.sent.code == CloseCode.TOO_BIG:
        return End(CloseCode.ABNORMAL, f"{closed.sent.reason}; --max-size lets larger messages in")
    # Without a close frame from the server, ours says why we gave up on it.
    return End(CloseCode.ABNORMAL, "connection lost" if closed.sent is None else closed.sent.reason)

"""One WebSocket from dialling to its end; reconnecting is not its business."""

from __future__ import annotations

import asyncio
import logging
import ssl
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from wsclient.dialling import DialOptions, End
from wsclient.errors import ConnectionFailedError
from wsclient.tls import tls_problem, wrong_scheme
from wsclient.url import is_loopback_url
from wscore.codes import CloseCode
from wscore.heartbeat import loop_stalled
from wscore.text import describe, redact
from wscore.units import format_figure

# websockets writes the request line, and with it the token, at debug level.
_LOGGER: Final = logging.getLogger("websockets.wsctl")
_LOGGER.setLevel(logging.INFO)


class ClientSocket:
    """An open WebSocket of text frames."""

    __slots__ = ("_ws",)

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws

    @classmethod
    async def dial(cls, url: str, shown_url: str, options: DialOptions) -> ClientSocket:
        """Connect to `url`; errors mention `shown_url`, which has no token in it.

        Raises ConnectionFailedError.
        """
        arguments: dict[str, Any] = {
            "additional_headers": options.headers,
            "origin": options.origin,
            "subprotocols": list(options.subprotocols) or None,
            "open_timeout": options.open_timeout_s,
            "close_timeout": options.close_timeout_s,
            "max_size": options.max_message_bytes,
            "logger": _LOGGER,
            "ping_interval": None,  # the envelope heartbeat is the protocol's own
        }
        if url.startswith("wss:") and options.tls is not None:
            arguments["ssl"] = options.tls
        may_be_scheme = False
        try:
            if options.uds is not None:
                return cls(await unix_connect(options.uds, url, **arguments))
            return cls(await connect(url, proxy=None if is_loopback_url(url) else True, **arguments))
        except InvalidStatus as error:
            response = error.response
            problem = f"the server answered HTTP {response.status_code} {response.reason_phrase}"
            may_be_scheme = response.status_code == HTTPStatus.BAD_REQUEST  # what nginx says on its port for TLS
        except InvalidHeader as error:  # its value may be anything
            fault = "missing" if error.value is None else "invalid"
            problem = f"no WebSocket server answered: {fault} {error.name} header"
        except InvalidHandshake as error:
            problem = f"no WebSocket server answered: {error}"
            may_be_scheme = isinstance(error, InvalidMessage)
        except TimeoutError:
            problem = f"no answer within {format_figure(options.open_timeout_s)} s"
            may_be_scheme = url.startswith("wss:")
        except ssl.SSLError as error:
            problem = tls_problem(error, url)
            may_be_scheme = not isinstance(error, ssl.SSLCertVerificationError)
        except OSError as error:
            problem = _reason(error)
            may_be_scheme = isinstance(error, ConnectionResetError)
        except (InvalidURI, InvalidProxy) as error:
            whose = "the proxy's" if isinstance(error, InvalidProxy) else "its"
            problem = f"{whose} address is not valid: {error.msg}"
        except (WebSocketException, ValueError, EOFError) as error:
            problem = describe(error)
        if may_be_scheme and options.uds is None and get_proxy(parse_uri(url)) is None:
            problem = await wrong_scheme(url) or problem
        # What websockets says may quote a URL: that of a proxy or a redirect.
        raise ConnectionFailedError(shown_url, redact(problem)) from None

    async def receive(self, silence_s: float | None = None) -> str | End:
        """Return the next text frame, or how the connection ended; a binary frame ends it, so does silence.

        A loop that stood still for longer than `silence_s` reads first what came in meanwhile.
        """
        while True:
            try:
                async with asyncio.timeout(silence_s) as silence:
                    frame = await self._ws.recv()
            except ConnectionClosed as closed:
                return _end(closed)
            except TimeoutError:
                if _is_late(silence):
                    continue
                self.abort()
                return End(CloseCode.ABNORMAL, f"no sign of life from the server for {format_figure(silence_s or 0)} s")
            if isinstance(frame, str):
                return frame
            await self.close(CloseCode.UNSUPPORTED_DATA, "binary frames are not spoken here")
            return End(CloseCode.UNSUPPORTED_DATA, "the server sent a binary frame")

    async def send(self, text: str, timeout_s: float | None = None) -> bool:
        """Send a text frame; returns False if the connection is gone.

        A server that reads nothing for `timeout_s` is gone too, unless the loop stood still: the frame waits then.
        """
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                await self._ws.send(text)
        except ConnectionClosed:
            return False
        except TimeoutError:
            if _is_late(deadline):
                return True
            self.abort()
            return False
        return True

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close, waiting a bounded time for the server's answer; cancelled, it drops the connection."""
        try:
            await self._ws.close(code, reason)
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
    # Without a close frame from the server, ours says why we gave up on it.
    return End(CloseCode.ABNORMAL, "connection lost" if closed.sent is None else closed.sent.reason)


def _reason(error: OSError) -> str:
    """Return the operating system's words; several addresses tried give several errors, of which one will do."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused; is the server running? `wsctl serve` starts one"
    return describe(error)

"""A connection to Redis that carries many calls a turn: an asyncio Protocol around hiredis (design section 8).

redis-py takes 13 to 61 µs of processor time a call on the client's side, this one less than one. What is called once in
a while goes through redis-py.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

MAX_REPLY_BYTES: Final = 64 << 20  # of one reply that is not whole yet
# To be woken for a reply takes ten times as long as to handle it. So where more than `MANY` come within `LOOK_S`, and
# not in one go, they are fetched once in `GATHER_S`, until that finds only a `FEW`. Each waits a little then.
MANY: Final = 16
WAKINGS: Final = 4
LOOK_S: Final = 0.008
GATHER_S: Final = 0.003
FEW: Final = 3
READ_BYTES: Final = 64 << 10
_NO_MORE: Final = object()
_pack: Final[Callable[[tuple[bytes | str | float, ...]], bytes]] = hiredis.pack_command  # type: ignore[assignment]


class RedisWire(asyncio.Protocol):
    """Writes commands and hands each reply on, in order. It knows nothing of what they mean.

    `on_reply` gets every reply, errors of Redis as `hiredis.ReplyError`; `on_lost` is called once, when the connection
    has ended, with what went wrong or None. One that `gathers` may let a reply wait for others for some `GATHER_S`
    while many come: for a subscription, not where one call waits for another. It never does over TLS.
    """

    __slots__ = (
        "_buffer",
        "_came",
        "_descriptor",
        "_gathers",
        "_is_held",
        "_is_lost",
        "_looked_s",
        "_loop",
        "_on_lost",
        "_reader",
        "_transport",
        "_wakings",
        "on_reply",
    )

    def __init__(
        self, on_reply: Callable[[Any], None], on_lost: Callable[[Exception | None], None], *, gathers: bool = False
    ) -> None:
        self.on_reply = on_reply
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NO_MORE)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gathers = gathers
        self._descriptor = -1  # where replies are fetched past the transport
        self._buffer: list[bytes] = []
        self._is_held = self._is_lost = False
        self._looked_s = 0.0
        self._wakings = self._came = 0  # since then: how often it was woken, for how many replies

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name
        if self._gathers and transport.get_extra_info("ssl_object") is None and sys.platform != "win32":
            self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio)."""
        came = self._take(data)
        if self._descriptor < 0 or self._is_lost:
            return
        now_s = self._loop.time()
        if now_s - self._looked_s > LOOK_S:
            self._looked_s, self._wakings, self._came = now_s, 0, 0
        self._wakings += 1
        self._came += came
        transport = self._transport
        if self._wakings > WAKINGS and self._came > MANY and transport is not None and not transport.is_closing():
            transport.pause_reading()
            self._loop.call_later(GATHER_S, self._fetch)

    def connection_lost(self, error: Exception | None) -> None:
        """End (asyncio)."""
        if not self._is_lost:
            self._is_lost = True
            self._on_lost(error)

    @property
    def unsent_bytes(self) -> int:
        """What Redis has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def call(self, *parts: bytes | str | float) -> None:
        """Write one command; all of a turn of the event loop go out in one write."""
        if self._is_lost:
            return
        if not self._buffer and not self._is_held:
            self._loop.call_soon(self._flush)
        self._buffer.append(_pack(parts))

    def hold(self) -> None:
        """Have calls wait for `release`, which spares a turn of the event loop."""
        self._is_held = True

    def release(self) -> None:
        """Write what was called since `hold`."""
        self._is_held = False
        self._flush()

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection; `on_lost` is told at once."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(error)

    def _take(self, data: bytes) -> int:
        """Hand on what is whole; returns how many replies that are."""
        reader, on_reply, came = self._reader, self.on_reply, 0
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NO_MORE:
                on_reply(reply)
                came += 1
                if self._is_lost:
                    return came
        except hiredis.ProtocolError as error:
            self.abort(error)
            return came
        if reader.len() > MAX_REPLY_BYTES:
            self.abort(ConnectionError("a reply of Redis is too large"))
        return came

    def _fetch(self) -> None:
        transport = self._transport
        assert transport is not None
        if self._is_lost or transport.is_closing():  # then the descriptor may be another one's
            return
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except OSError:
            data = b""
        if len(data) == READ_BYTES:
            self._take(data)
            self._loop.call_later(0, self._fetch)
        elif self._take(data) > FEW:
            self._loop.call_later(GATHER_S, self._fetch)
        elif not self._is_lost and not transport.is_closing():
            self._looked_s = 0.0
            transport.resume_reading()  # it is quiet or has ended: the transport finds out which

    def _flush(self) -> None:
        buffer, self._buffer = self._buffer, []
        if buffer and self._transport is not None and not self._is_lost:
            self._transport.write(b"".join(buffer))

"""Private parts of what speaks WebSocket: picows, websockets, and the transports of asyncio and uvloop."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

import picows
import pytest
from picows import picows as core
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxy, InvalidURI
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.proxy import get_proxy
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from tests.private.rows import on_both_loops, part, tcp_pair

READ_BYTES: Final = 2048
REQUEST: Final = (
    b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class PicowsSide(picows.WSListener):
    """A server's side of a connection, and the logger that picows is given."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.ended = asyncio.get_running_loop().create_future()
        self.started = asyncio.get_running_loop().create_future()
        response = picows.WSUpgradeResponseWithListener(picows.WSUpgradeResponse.create_101_response(None), self)
        strategy = picows.WSAutoPingStrategy.PING_WHEN_IDLE
        self.protocol: Any = core.WSProtocol(  # type: ignore[attr-defined]
            *(None, None, False, lambda _: response, self, True, None, False, 0, 0, strategy, False, 1 << 16, None),
            READ_BYTES,
        )

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return False

    def error(self, *_: object) -> None:
        handshake = self.protocol.transport.close_handshake
        self.told.append(("error", handshake.recv.code, handshake.sent))

    def log(self, *_: object) -> None:
        pass

    debug = info = warning = exception = log

    def on_ws_connected(self, transport: Any) -> None:
        self.started.set_result(None)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.told.append(frame.msg_type)

    def on_ws_disconnected(self, transport: Any) -> None:
        self.ended.set_result(None)


@part(
    "picows: `WSProtocol`", "core.WSProtocol", mend="read how `ws_create_server` makes it, and do the same in `upgrade`"
)
def check_picows_protocol() -> None:
    """It takes our fifteen arguments, is fed by `get_buffer` and `buffer_updated`, and has `transport`."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        side = PicowsSide()
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(lambda: side.protocol, theirs)
        assert 0 < len(protocol.get_buffer(-1)) <= READ_BYTES
        protocol.get_buffer(-1)[: len(REQUEST)] = REQUEST
        protocol.buffer_updated(len(REQUEST))
        assert protocol.transport.underlying_transport is transport
        assert protocol.transport.request.headers
        await side.started
        protocol.transport.disconnect(graceful=False)
        await side.ended
        ours.close()

    on_both_loops(main)


@part(
    "picows: its buffer", "UNCOUNTED_BYTES", mend="find how large the buffer is, and what of it waits, in another way"
)
def check_picows_buffer() -> None:
    """A buffer that is nearly full doubles, whole frames leave it, and its room may be written over."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        side = PicowsSide()
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(lambda: side.protocol, theirs)
        size = len(protocol.get_buffer(-1))
        protocol.get_buffer(-1)[: len(REQUEST)] = REQUEST
        protocol.buffer_updated(len(REQUEST))
        assert len(protocol.get_buffer(-1)) == size
        head = b"\x81\xfe\x0f\xa0\0\0\0\0"  # of a message of 4000 bytes
        protocol.get_buffer(-1)[: len(head)] = head
        protocol.buffer_updated(len(head))
        end = len(head)
        while end < 4000:
            room = protocol.get_buffer(-1)
            assert len(room) == size - end
            part = min(len(room) - 1, 4000 - end)
            protocol.buffer_updated(part)
            end += part
            if len(protocol.get_buffer(-1)) > size:
                size *= 2
        protocol.get_buffer(-1)[:] = bytes(size - end)
        protocol.buffer_updated(len(head))
        assert side.told == [picows.WSMsgType.TEXT]
        assert len(protocol.get_buffer(-1)) == size
        protocol.transport.disconnect(graceful=False)
        ours.close()

    on_both_loops(main)


@part("picows: when it logs", "_ParserLog", mend="find what tells of a broken frame before picows answers it")
def check_picows_logger() -> None:
    """Of a broken frame behind a close frame `error` is called before either is answered or handed over."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        side = PicowsSide()
        await asyncio.get_running_loop().connect_accepted_socket(lambda: side.protocol, theirs)
        close, broken = b"\x88\x82\0\0\0\0\x03\xe8", b"\x83\x80\0\0\0\0"
        await asyncio.get_running_loop().sock_sendall(ours, REQUEST + close + broken)
        await side.ended
        assert side.told == [("error", 1000, None), picows.WSMsgType.CLOSE]
        ours.close()

    on_both_loops(main)


@part("picows: one write up to 8 KiB", "PICOWS_SENDS_BYTES", mend="lower the limit: what is longer we frame ourselves")
def check_picows_send() -> None:
    """`send` writes a server's message of up to 8192 bytes in one piece: past a transport that holds nothing."""

    class Wire:
        def __init__(self, transport: asyncio.Transport) -> None:
            self.transport = transport
            self.held = 0
            self.sizes: list[int] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.transport, name)

        def get_write_buffer_size(self) -> int:
            return self.held

        def write(self, data: bytes) -> None:
            self.sizes.append(len(data))

    async def main() -> None:
        ours, theirs = tcp_pair()
        side = PicowsSide()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, theirs)
        wire = Wire(transport)
        side.protocol.connection_made(wire)
        side.protocol.get_buffer(-1)[: len(REQUEST)] = REQUEST
        side.protocol.buffer_updated(len(REQUEST))
        wire.sizes.clear()  # the answer to the request
        side.protocol.transport.send(picows.WSMsgType.TEXT, b"x" * 8192)
        got = 0
        while got < 8192 + 4:
            got += len(await asyncio.get_running_loop().sock_recv(ours, 1 << 20))
        assert not wire.sizes
        wire.held = 1
        side.protocol.transport.send(picows.WSMsgType.TEXT, b"x" * 8192)
        assert wire.sizes == [8192 + 4]
        transport.abort()
        ours.close()

    on_both_loops(main)


@part("picows: hung up on", "if connected is None", mend="drop the branch once `ws_connect` raises")
def check_picows_without_an_answer() -> None:
    """`ws_connect` returns None for the listener when the target hangs up before it answers."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        theirs.close()
        _, connected = await picows.ws_connect(picows.WSListener, "ws://h/", socket_factory=lambda _: ours)
        assert connected is None

    asyncio.run(main())


@part("asyncio, uvloop: changing protocols", "transport.set_protocol(", mend="find how that loop takes a new protocol")
def check_set_protocol() -> None:
    """After `set_protocol`, `pause_reading` and `resume_reading` a `BufferedProtocol` is read into."""

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.room = bytearray(8)
            self.read = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.room

        def buffer_updated(self, nbytes: int) -> None:
            self.read.set_result(bytes(self.room[:nbytes]))

    async def main() -> None:
        ours, theirs = tcp_pair()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, theirs)
        buffered = Buffered()
        transport.set_protocol(buffered)
        transport.pause_reading()
        transport.resume_reading()
        await asyncio.get_running_loop().sock_sendall(ours, b"hello")
        assert await buffered.read == b"hello"
        transport.abort()
        ours.close()

    on_both_loops(main)


@part(
    "asyncio, uvloop: writing past the transport",
    "os.write(self._direct",
    mend="write through the transport: it costs a tenth",
)
def check_writing_past() -> None:
    """With limits of 0 a transport tells of its first byte and of its last; else its descriptor may be written to."""

    class Side(asyncio.Protocol):
        def __init__(self) -> None:
            self.told: list[bool] = []
            self.resumed = asyncio.get_running_loop().create_future()

        def pause_writing(self) -> None:
            self.told.append(self.transport.get_write_buffer_size() > 0)

        def resume_writing(self) -> None:
            self.resumed.set_result(self.transport.get_write_buffer_size())

    async def main() -> None:
        ours, theirs = tcp_pair()
        loop, side = asyncio.get_running_loop(), Side()
        transport, _ = await loop.connect_accepted_socket(lambda: side, theirs)
        side.transport = transport
        transport.set_write_buffer_limits(high=0, low=0)
        descriptor = transport.get_extra_info("socket").fileno()
        os.write(descriptor, b"1")
        transport.write(b"2")
        assert (side.told, transport.get_write_buffer_size()) == ([], 0)
        os.write(descriptor, b"3")
        transport.write(bytes(32 << 20))
        assert side.told == [True]
        got = bytearray()
        while len(got) < (32 << 20) + 3:
            got += await loop.sock_recv(ours, 1 << 20)
        assert got[:3] == b"123"
        assert await side.resumed == 0
        os.write(descriptor, b"4")
        assert await loop.sock_recv(ours, 10) == b"4"
        transport.abort()
        ours.close()

    on_both_loops(main)


@part("asyncio, uvloop: what is written at once", "TLS_HELD_BYTES", mend="set `TLS_HELD_BYTES` to the new limit")
def check_raw_limit() -> None:
    """A transport without limits of its own, such as TLS stands on, holds 64 KiB before it says that it waits."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, theirs)
        assert transport.get_write_buffer_limits()[1] == 64 << 10
        transport.abort()
        ours.close()

    on_both_loops(main)


@part("asyncio: a refused connection", "Connect call failed", mend="look for the new words")
def check_refused() -> None:
    """Of several addresses that all refused the error says `Connect call failed`."""

    async def main() -> None:
        ours, theirs = tcp_pair()
        port = theirs.getsockname()[1]
        ours.close()
        theirs.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


@part(
    "websockets: the inside of `ServerProtocol`",
    "process_extensions",
    "accept_key",
    mend="read what `ServerProtocol.accept` and `Protocol.parse` do now",
)
def check_websockets_server() -> None:
    """`process_extensions`, `extensions` and their `encode`, `recv_frame` for all, `reader.buffer`; `accept_key`."""

    class Frames(ServerProtocol):
        def recv_frame(self, frame: Frame) -> None:
            seen.append(frame.opcode)
            super().recv_frame(frame)

    seen: list[Opcode] = []
    protocol = Frames(extensions=[ServerPerMessageDeflateFactory()], max_size=1000, state=OPEN)
    offer = Headers([("Sec-WebSocket-Extensions", "permessage-deflate")])
    answer, protocol.extensions = protocol.process_extensions(offer)
    assert answer is not None
    assert answer.startswith("permessage-deflate")
    packed = protocol.extensions[0].encode(Frame(Opcode.TEXT, b"x" * 100))
    assert packed.rsv1
    assert len(packed.data) < 100
    protocol.receive_data(b"\x81\x82\0")
    assert len(protocol.reader.buffer) == 1  # of a frame that is not whole
    protocol.receive_data(b"\0\0\0ok")
    assert not protocol.reader.buffer
    seen.clear()
    protocol.receive_data(b"\x89\x80\0\0\0\0" + b"\x88\x82\0\0\0\0\x03\xe8")
    assert seen == [Opcode.PING, Opcode.CLOSE]
    assert protocol.close_rcvd is not None
    assert protocol.close_rcvd.code == 1000
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


@part("websockets: the client's transport", "_ws.transport", mend="find how a connection is dropped without a close")
def check_websockets_client() -> None:
    """`transport.abort()` drops a connection at once; then `recv` raises ConnectionClosed."""

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def main() -> None:
        async with serve(wait, "127.0.0.1", 0) as server:
            client = await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            client.transport.abort()
            await client.wait_closed()
            assert client.close_code == 1006

    asyncio.run(main())


@part(
    "websockets: a connection's handshake and control frames",
    "ObservedConnection",
    mend="find where the request, the answer, pings and pongs of a connection can be seen now",
)
def check_websockets_observed() -> None:
    """`create_connection` makes a connection with `request`, `response`; `process_event` gets each ping and pong."""
    seen: list[object] = []

    class Observed(ClientConnection):
        def process_event(self, event: Any) -> None:
            if isinstance(event, Frame):
                seen.append((event.opcode, bytes(event.data) in self.pending_pings))
            super().process_event(event)

    async def ask(connection: ServerConnection) -> None:
        await (await connection.ping(b"ask"))
        await connection.wait_closed()

    async def main() -> None:
        async with serve(ask, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url, create_connection=Observed) as client:
                await (await client.ping(b"mine"))
                assert client.latency > 0
                assert client.request.path == "/"
                assert client.response is not None
                assert client.response.status_code == 101
        assert set(seen) >= {(Opcode.PING, False), (Opcode.PONG, True)}

    asyncio.run(main())


@part("websockets: its proxies and its errors", "get_proxy(", mend="take the words from where they are now")
def check_websockets_words() -> None:
    """`get_proxy(parse_uri(url))` says which proxy a URL would take; InvalidURI and InvalidProxy have `msg`."""
    assert get_proxy(parse_uri("ws://127.0.0.1/")) is None or os.environ.get("http_proxy")
    assert InvalidURI("x", "no scheme").msg == "no scheme"
    assert InvalidProxy("x", "no port").msg == "no port"

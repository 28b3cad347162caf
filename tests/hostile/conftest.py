"""Raw sockets for peers that break every rule, and a neighbour who must notice nothing of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from wscore.guest import mint_guest_token
from wsserver.settings import EngineName

ROOT = Path(__file__).parents[2]
HANG_S = 20
CLOSED = 0x8


def guest() -> str:
    return mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    size: int | None = None,
    size_bytes: int | None = None,
) -> bytes:
    """Return a client's frame; `size` lies about the length, `size_bytes` (2 or 8) writes it longer than needed."""
    length = len(payload) if size is None else size
    first, mask_bit = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if masked else 0
    if size_bytes == 8 or (size_bytes is None and length > 0xFFFF):
        head = struct.pack("!BBQ", first, mask_bit | 127, length)
    elif size_bytes == 2 or length > 125:
        head = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack("!BB", first, mask_bit | length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    cover = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(cover, "big")).to_bytes(len(payload), "big")


class RawSocket:
    """A WebSocket made by hand: what goes out is bytes, what comes in is (opcode, payload)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))
        await asyncio.wait_for(self.writer.drain(), HANG_S)

    async def send_json(self, value: object) -> None:
        await self.send(frame(0x1, json.dumps(value).encode()))

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self._exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._exactly(8))
        assert not second & 0x80, "a server must not mask"
        return first & 0xF, await self._exactly(size)

    async def receive_type(self, kind: str) -> dict[str, Any]:
        while True:
            opcode, payload = await self.receive()
            assert opcode == 0x1, (opcode, payload)
            envelope: dict[str, Any] = json.loads(payload)
            if envelope["type"] == kind:
                return envelope

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def close_code(self) -> int | None:
        """Read to the end, answering a close frame; returns the code of the first one, None if none came."""
        code = None
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSED and code is None:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
                    self.writer.write(frame(CLOSED, payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

    async def _exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), HANG_S)


OpenSocket = Callable[..., Awaitable[RawSocket]]


@pytest.fixture
async def open_socket() -> AsyncIterator[OpenSocket]:
    """Open a raw WebSocket to a server, past its greeting: `await open_socket(server.url, session="room")`.

    A small `receive_buffer` keeps what a peer does not read in the server, where the test wants it.
    """
    sockets: list[RawSocket] = []

    async def open_one(url: str, *, session: str | None = None, receive_buffer: int | None = None) -> RawSocket:
        parts = urlsplit(url)
        raw = socket.socket()
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=raw)
        query = f"token={guest()}" + (f"&sessionId={session}" if session else "")
        writer.write(
            (
                f"GET {parts.path}?{query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HANG_S)
        assert b" 101 " in head, head
        peer = RawSocket(reader, writer)
        sockets.append(peer)
        await peer.receive_type("session_created")
        return peer

    yield open_one
    for peer in sockets:
        peer.writer.transport.abort()  # a close would wait until everything is sent


HELD = ("outbound", "inbound", "unfinished", "decoded")  # wsctl_..._bytes


class MeasuredServer:
    """A `wsctl serve` whose memory nobody else uses."""

    def __init__(self, engine: EngineName, directory: Path, *arguments: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        self.log = directory / "server.log"
        options = ["--port", "0", "--ops-port", "0", "--engine", engine.value, "--log-format", "json", *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from cli.main import main; main()", "serve", *options],
                stderr=log,
                stdout=subprocess.DEVNULL,
                cwd=directory,
                env=clean | {"PYTHONPATH": str(ROOT)},
            )
        deadline = time.monotonic() + HANG_S
        urls: dict[str, str] = {}
        while "server.listening" not in urls:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
            urls = {event["event"]: event["url"] for event in self.events() if "url" in event}
        self.url = urls["server.listening"]
        self._ops_url = urls["ops.listening"]

    def events(self) -> list[dict[str, Any]]:
        complete = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines()]

    def closed(self, code: int) -> int:
        """Return how many connections it has closed with `code`."""
        return sum(event.get("code") == code and event.get("by") == "server" for event in self.events())

    async def closed_with(self, code: int, times: int = 1) -> None:
        """Wait until it has closed as many connections with `code`."""
        async with asyncio.timeout(HANG_S):
            while self.closed(code) < times:
                await asyncio.sleep(0.02)

    async def logged(self, event: str) -> None:
        """Wait until it has logged that event."""
        async with asyncio.timeout(HANG_S):
            while not any(message["event"] == event for message in self.events()):
                await asyncio.sleep(0.02)

    @contextmanager
    def grows_less_than(self, limit: int) -> Iterator[None]:
        """Compare the highest resident size inside the block with the size before it."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # restarts the kernel's note of the peak
        before = self.resident()
        yield
        assert self._memory("VmHWM") - before < limit

    def resident(self) -> int:
        """Return its resident size, in bytes."""
        return self._memory("VmRSS")

    async def held(self) -> int:
        """Return how many bytes of what clients sent, and do not read, it says that it holds."""
        async with httpx.AsyncClient(trust_env=False) as client:
            scraped = (await client.get(f"{self._ops_url}/metrics", timeout=HANG_S)).text
        return sum(int(float(re.search(rf"^wsctl_{name}_bytes (.+)$", scraped, re.MULTILINE)[1])) for name in HELD)  # type: ignore[index]

    async def shrinks_to(self, size: int) -> None:
        """Wait until it holds nothing, and then until its resident size is no more than that."""
        async with asyncio.timeout(HANG_S):
            while await self.held():
                await asyncio.sleep(0.05)
            while self.resident() > size:
                await asyncio.sleep(0.05)

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) << 10


@pytest.fixture(scope="module")
def start_measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MeasuredServer]]:
    """Start `wsctl serve` processes: `start_measured(engine, "--option", "value", "APP", files={"app.py": text})`."""
    servers: list[MeasuredServer] = []

    def start(engine: EngineName, *arguments: str, files: dict[str, str] | None = None) -> MeasuredServer:
        folder = tmp_path_factory.mktemp("measured")
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        servers.append(MeasuredServer(engine, folder, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait(HANG_S)


class Neighbour:
    """An ordinary client of the same server."""

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws

    async def notices_nothing(self) -> None:
        """Its ping is answered, and nothing else came."""
        request = uuid.uuid4().hex
        await self._ws.send(json.dumps({"type": "ping", "timestamp": 1, "id": request}))
        answer = json.loads(await asyncio.wait_for(self._ws.recv(), HANG_S))
        assert (answer["type"], answer.get("id")) == ("pong", request), answer


@pytest.fixture
async def neighbour_of() -> AsyncIterator[Callable[..., Awaitable[Neighbour]]]:
    """`await neighbour_of(server.url)`: a client in a session of its own."""
    sockets: list[ClientConnection] = []

    async def join(url: str) -> Neighbour:
        ws = await connect(f"{url}?token={guest()}", proxy=None, compression=None)
        sockets.append(ws)
        assert json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["type"] == "session_created"
        return Neighbour(ws)

    yield join
    for ws in sockets:
        await ws.close()


@pytest.fixture
def make_frame() -> Callable[..., bytes]:
    return frame


class Page:
    """Opens a WebSocket as a browser would, with the headers that the test names."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, headers: Sequence[str], *, token: str | None = None, status: int = 101) -> Page:
        parts = urlsplit(url)
        page = cls(*await asyncio.open_connection(parts.hostname, parts.port))
        lines = [
            f"GET {parts.path}?token={token or guest()} HTTP/1.1",
            *headers,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        page._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(HANG_S):
            head = await page._reader.readuntil(b"\r\n\r\n")
        # What a page can send is accepted first: it learns the reason only after the handshake.
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
        return page

    async def left_over(self) -> int:
        """Read to the end; returns how many answers came behind the first one."""
        async with asyncio.timeout(HANG_S):
            rest = await self._reader.read()
        self._writer.close()
        return rest.count(b"HTTP/1.1 ")

    async def outcome(self) -> tuple[str, int | None]:
        """Return ("session_created", None), or the error's code and the close code behind it; nothing else may come.

        The code is empty where only a close frame came.
        """
        async with asyncio.timeout(HANG_S):
            opcode, payload = await self._frame()
            if opcode == CLOSED:
                self._writer.close()
                return "", int.from_bytes(payload[:2], "big")
            assert opcode == 0x1
            envelope: dict[str, Any] = json.loads(payload)
            if envelope["type"] == "session_created":
                self._writer.close()
                return "session_created", None
            opcode, payload = await self._frame()
            assert opcode == 0x8
            self._writer.close()
            return envelope["data"]["code"], int.from_bytes(payload[:2], "big")

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        return first & 0xF, await self._reader.readexactly(size)


@pytest.fixture
def open_page() -> Callable[..., Awaitable[Page]]:
    """`await open_page(server.url, ["Host: ...", "Origin: ..."], token=..., status=101)`."""
    return Page.open

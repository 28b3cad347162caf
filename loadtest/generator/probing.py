"""What is found out before a run: whether the target takes a connection, and what a receipt costs this process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import time
from dataclasses import dataclass
from typing import Final

import msgspec
from picows import ws_connect

from loadtest.generator.connections import LoadConnection, decode_envelope, monotonic_ns
from loadtest.generator.dialect import Dialect
from loadtest.generator.dialing import Dialer, is_refusal
from loadtest.generator.traffic import Traffic
from loadtest.wire import Plan
from wscore.codes import CloseCode
from wscore.foreign.values import key_of
from wscore.frames import text_frame
from wscore.text import neutralise, redact

_MOST_TYPES: Final = 8
_SHOWN: Final = 40  # characters of a type
_PAIRS: Final = 20
_ROUNDS: Final = 50
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@dataclass(frozen=True, slots=True)
class TargetRefusal:
    """Why the target does not take a connection; `is_token` if another token would help."""

    reason: str
    is_token: bool


def refusal(reason: str, close_codes: object = ()) -> TargetRefusal:
    """Return what a failed connection's reason means."""
    is_token = is_refusal(reason) or str(int(CloseCode.AUTH_FAILED)) in str(close_codes)
    return TargetRefusal(reason, is_token)


class _ProbeTraffic(Traffic):
    shown = row = ""

    def __init__(self, plan: Plan, dialer: Dialer, fields: dict[str, str]) -> None:
        super().__init__(plan, dialer)
        self.fields = fields
        self.end = b""  # what it said when it closed
        self.types: list[str] = []  # of what came before a greeting of another protocol
        self.key = ""  # of the member that held the greeting, where that was not taken for the type
        self._dialect = None if plan.dialogue is None else Dialect(plan, plan.dialogue)
        if self._dialect is not None:
            self.greeting = "greeting"

    def new_connection(self, slot: int, index: int) -> LoadConnection:
        return LoadConnection(self, slot, index) if self._dialect is None else _ForeignProbe(self, slot, index)

    def met(self, connection: LoadConnection) -> None:
        if self._dialect is not None:
            self._dialect.begin(connection)

    def read(self, connection: LoadConnection, payload: bytes, *, is_text: bool) -> None:
        """Look for the greeting of another protocol."""
        assert self._dialect is not None
        reading = self._dialect.read(connection, payload, is_text=is_text)
        if reading is not None and reading.message is not None and not connection.joined_ns:
            name = reading.message.type
            if not self.key and (greeting := self._dialect.wanted_greeting) is not None:
                self.key = key_of(payload, (greeting,))
            if name not in self.types and len(self.types) < _MOST_TYPES:
                self.types.append(name)

    def ended(self, connection: LoadConnection) -> None:
        self.end = connection.close_reason
        super().ended(connection)

    def told(self, problem: str) -> str:
        """Return what was in the way, with what the target said of it."""
        words = neutralise(redact(self.end.decode(errors="replace")))
        if words and problem.startswith("closed with"):
            problem = f"{problem} ({words})"
        greeting = self.plan.dialogue.protocol.greeting if self.plan.dialogue is not None else None
        if greeting is None or self.greeting not in problem:
            return problem
        if self.key:
            key = neutralise(self.key[:_SHOWN])
            return f"{problem}; {greeting!r} came as the member {key!r}: --type-key {key}"
        came = ", ".join(repr(neutralise(name[:_SHOWN])) for name in self.types) or "none"
        return f"{problem}; it is to be {greeting!r}, and the types that came are {came}: see --greeting and --type-key"

    def query(self, connection: LoadConnection) -> dict[str, str]:
        return self.fields


class _ForeignProbe(LoadConnection):
    __slots__ = ()

    traffic: _ProbeTraffic

    def text(self, payload: bytes) -> None:
        self.traffic.read(self, payload, is_text=True)

    def binary(self, payload: bytes) -> None:
        self.traffic.read(self, payload, is_text=False)


async def probe(plan: Plan, dialer: Dialer, query: dict[str, str]) -> TargetRefusal | None:
    """Open one connection, with `query` in its URL, and close it again; returns what is in the way."""
    traffic = _ProbeTraffic(plan, dialer, query)
    traffic.reserve()
    problem = await traffic.connect(0)
    if problem is not None:
        return refusal(traffic.told(problem), list(traffic.counts.close_codes))
    connection = traffic.slots[0]
    assert connection is not None
    connection.close()
    return None


class _ReceiptCounter(LoadConnection):
    __slots__ = ("latencies",)

    def __init__(self, traffic: Traffic, latencies: list[int]) -> None:
        super().__init__(traffic, 0, 0)
        self.latencies = latencies

    def text(self, payload: bytes) -> None:
        decode_envelope(payload)
        self.latencies.append(monotonic_ns() - self.dialled_ns)


async def receive_floor_us(plan: Plan, dialer: Dialer) -> float:
    """Return the processor time in µs that one message costs the generator, without a network or a server's share."""
    frame = text_frame(
        b'{"type":"message","timestamp":1700000000000,"data":{"pad":"%s"}}' % (b"x" * plan.payload_bytes)
    )
    traffic = _ProbeTraffic(msgspec.structs.replace(plan, dialogue=None), dialer, {})
    latencies: list[int] = []
    peers: list[socket.socket] = []
    counters: list[_ReceiptCounter] = []
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        for _ in range(_PAIRS):
            own = socket.create_connection(listening.getsockname())
            peer, _ = listening.accept()
            peers.append(peer)
            peer.setblocking(False)
            counter = _ReceiptCounter(traffic, latencies)
            counters.append(counter)
            greeting = loop.create_task(_greet(peer))
            await ws_connect(lambda counter=counter: counter, "ws://floor/", socket_factory=lambda _, own=own: own)  # type: ignore[misc]
            await greeting
        sending_s, began = 0.0, time.process_time()
        for _ in range(_ROUNDS):
            due = len(latencies) + _PAIRS
            before = time.process_time()
            for peer in peers:
                peer.send(frame)
            sending_s += time.process_time() - before
            while len(latencies) < due:  # noqa: ASYNC110 - an event would cost what is measured
                await asyncio.sleep(0)
        spent_s = time.process_time() - began - sending_s
    finally:
        listening.close()
        for counter in counters:
            counter.cut()
        for peer in peers:
            peer.close()
    return round(spent_s / len(latencies) * 1e6, 2)


async def _greet(peer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    request = b""
    while b"\r\n\r\n" not in request:
        request += await loop.sock_recv(peer, 4096)
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.partition(b":")[2].strip() + _GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    await loop.sock_sendall(peer, head + accept + b"\r\n\r\n")

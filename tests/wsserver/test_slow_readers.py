"""Readers that stand still, and those that are only late, over every way out: both engines, TLS, compression."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conftest import ENGINES
from wsserver.outbound.backlog import OutboundLimits
from wsserver.settings import EngineName

HANG_S = 20
MIB = 1 << 20
PATIENT = OutboundLimits(64 * MIB, 60)
# A close waits behind what waits: who reads that only later has to find it there, however slow the machine is.
AT_LEISURE = {"close_timeout_ms": HANG_S * 1000}

# What `wsctl serve` runs on; it buffers in another way than asyncio's own loop.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@dataclass(frozen=True)
class Wire:
    """A way from server to client."""

    server: dict[str, Any]
    client: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
    ).sign(key, SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(params=[*ENGINES, *(f"{name}-tls" for name in ENGINES), "deflate"])
def wire(request, certificate) -> Wire:
    name, _, secured = request.param.partition("-")
    if name == "deflate":
        return Wire({"engine": EngineName.WEBSOCKETS, "compression": True}, {"compression": "deflate"})
    if not secured:
        return Wire({"engine": EngineName(name)})
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    cert, key = certificate
    return Wire({"engine": EngineName(name), "tls_cert": cert, "tls_key": key}, {"ssl": context})


def closing(server) -> int:
    return sum(not connection.is_open for connection in server.connections.all())


def slow_consumers(server) -> float:
    return server.metrics.value("wsctl_connections_closed_total", disconnect="slow-consumer", code="4003")


def payload(number: int, size: int) -> str:
    """Nothing that compresses to less than half."""
    return f"{number} {os.urandom(size // 2).hex()}"


@pytest.fixture
def open_late(open_raw):
    """Open a client that reads nothing but what it is asked for: the rest waits in the server, after the buffers."""

    async def open_one(url: str, wire: Wire):
        parts = urlsplit(url)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)  # or the kernel would take in megabytes
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
        return await open_raw(url, sock=raw, session="room", max_queue=1, max_size=None, **wire.client)

    return open_one


async def until(condition) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_what_waits_is_neither_overtaken_nor_cut(start_server, open_late, wire):
    server = await start_server(outbound=PATIENT, **wire.server)
    late = await open_late(server.url, wire)
    sent: list[str] = []

    def send(private: bool, size: int) -> None:
        sent.append(payload(len(sent), size))
        if private:
            server.hub.send(late.greeting["data"]["connectionId"], "news", sent[-1])
        else:
            server.hub.publish("news", sent[-1], session="room")

    while server.backlog.used < 2 * MIB:
        for number in range(6):
            send(private=number % 3 == 1, size=(100, 9_000, 100_000, 50_000)[len(sent) % 4])
        await asyncio.sleep(0)
        assert len(sent) < 2000, "nothing ever waited"
    received = []
    while len(received) < len(sent):
        received.append((await late.receive())["data"])
        if len(received) % 5 == 0 and len(sent) < 1000:
            send(private=len(received) % 2 == 0, size=20_000)
    assert received == sent
    await until(lambda: server.backlog.used == 0)
    await late.send("ping")
    assert (await late.receive())["type"] == "pong"


async def test_a_message_beyond_the_limit_reaches_who_reads(start_server, open_late, wire):
    server = await start_server(outbound=OutboundLimits(64 << 10, 10), **wire.server)
    reader = await open_late(server.url, wire)
    large = payload(0, 12 * MIB)
    server.hub.send(reader.greeting["data"]["connectionId"], "news", large)
    server.hub.send(reader.greeting["data"]["connectionId"], "news", "small")
    assert (await reader.receive())["data"] == large
    assert (await reader.receive())["data"] == "small"


async def test_a_burst_beyond_the_limit_reaches_who_reads_and_closes_who_does_not(start_server, open_late, wire):
    server = await start_server(outbound=OutboundLimits(256 << 10, 60), **AT_LEISURE, **wire.server)
    stalled = await open_late(server.url, wire)
    quick = await open_late(server.url, wire)
    burst = [payload(number, MIB // 2) for number in range(40)]
    for data in burst:
        server.hub.publish("news", data, session="room")
    assert server.backlog.used < 24 * MIB, "what waits is not shared"
    for data in burst:
        assert (await quick.receive())["data"] == data
    await until(lambda: closing(server) == 1)
    received, code, _ = await stalled.received_until_closed()
    assert code == 4003
    await until(lambda: slow_consumers(server) == 1)
    assert [envelope["data"] for envelope in received] == burst[: len(received)]
    await quick.send("ping")
    assert (await quick.receive())["type"] == "pong"


async def test_time_alone_closes_a_reader_that_stands_still(start_server, open_late, wire):
    server = await start_server(outbound=OutboundLimits(64 * MIB, 0.3), **AT_LEISURE, **wire.server)
    stalled = await open_late(server.url, wire)
    while server.backlog.used < 200_000:
        server.hub.publish("news", payload(0, 100_000), session="room")
        await asyncio.sleep(0)
    assert closing(server) == 0
    await until(lambda: closing(server) == 1)
    _, code, reason = await stalled.received_until_closed()
    assert (code, reason) == (4003, "Outbound limit passed")
    await until(lambda: slow_consumers(server) == 1)
    await until(lambda: server.backlog.used == 0)


async def test_a_close_comes_after_what_waits(start_server, open_late, wire):
    server = await start_server(outbound=PATIENT, **AT_LEISURE, **wire.server)
    late = await open_late(server.url, wire)
    sent = 0
    while server.backlog.used < MIB:
        server.hub.publish("news", payload(sent, 50_000), session="room")
        sent += 1
        await asyncio.sleep(0)
    server.hub.close(late.greeting["data"]["connectionId"], 4004, "kicked")
    received, code, reason = await late.received_until_closed()
    assert [envelope["data"].split()[0] for envelope in received] == [str(number) for number in range(sent)]
    assert (code, reason) == (4004, "kicked")


async def test_who_leaves_gets_its_goodbye_and_nothing_of_what_waits_is_held(start_server, open_late, wire):
    server = await start_server(outbound=PATIENT, **wire.server)
    late = await open_late(server.url, wire)
    while server.backlog.used < MIB:
        server.hub.publish("news", payload(0, 50_000), session="room")
        await asyncio.sleep(0)
    leaving = asyncio.create_task(late.ws.close(1000))
    assert await late.close_code() == 1000
    await leaving
    await until(lambda: not len(server.connections) and server.backlog.used == 0)


async def test_who_neither_reads_nor_answers_is_dropped(start_server, open_late, wire):
    server = await start_server(outbound=PATIENT, close_timeout_ms=200, **wire.server)
    late = await open_late(server.url, wire)
    while server.backlog.used < MIB:
        server.hub.publish("news", payload(0, 50_000), session="room")
        await asyncio.sleep(0)
    late.ws.transport.pause_reading()
    server.hub.close(late.greeting["data"]["connectionId"], 4004, "kicked")
    await until(lambda: not len(server.connections) and server.backlog.used == 0)
    late.ws.transport.abort()


async def test_lossy_messages_are_missed_and_counted_and_the_rest_comes_in_order(start_server, open_late, wire):
    server = await start_server(outbound=OutboundLimits(512 << 10, 60), **wire.server)
    late = await open_late(server.url, wire)
    sent = 0
    while server.metrics.dropped["slow-reader"].value < 5:
        server.hub.publish("audio", payload(sent, 50_000), lossy=True, session="room")
        sent += 1
        await asyncio.sleep(0)
        assert sent < 1000, "nothing was ever dropped"
    received = []
    while len(received) < sent - server.metrics.dropped["slow-reader"].value:
        received.append(int((await late.receive())["data"].split()[0]))
    assert received == sorted(received)
    assert closing(server) == slow_consumers(server) == 0
    server.hub.publish("news", "last", session="room")
    assert (await late.receive())["data"] == "last"

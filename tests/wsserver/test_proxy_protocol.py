"""The PROXY protocol: the client that a trusted proxy names counts, and nothing else gets past it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from wscore.errors import ConfigError
from wsserver import ServerSettings
from wsserver.engines.pending import PendingLimits
from wsserver.engines.proxyprotocol import (
    MAX_BYTES,
    ProxyHeader,
    ProxyHeaderError,
    crc32c,
    parse_proxy_header,
)
from wsserver.handshake.limits import ConnectionLimits

HANG_S = 20
TRUSTED = ("127.0.0.1",)
CLIENT = "192.0.2.7"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(family: int, addresses: bytes, *, command: int = 0x21, tlvs: bytes = b"", size: int | None = None) -> bytes:
    body = addresses + tlvs
    return V2 + struct.pack("!BBH", command, family, len(body) if size is None else size) + body


def tcp(client: str, server: str = "10.0.0.1") -> bytes:
    return ipaddress.ip_address(client).packed + ipaddress.ip_address(server).packed + struct.pack("!HH", 4711, 443)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(wrong: bool = False) -> bytes:
    header = v2(0x11, tcp(CLIENT), tlvs=tlv(0x03, bytes(4)) + tlv(0x04, b"padding"))
    at = header.index(b"\x03\x00\x04") + 3
    return header[:at] + (crc32c(header) ^ wrong).to_bytes(4, "big") + header[at + 4 :]


GOOD = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", CLIENT),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 443\r\n", CLIENT),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff whatever it says\r\n", None),
    (v2(0x11, tcp(CLIENT)), CLIENT),
    (v2(0x21, tcp("2001:db8::7", "2001:db8::1")), "2001:db8::7"),
    (v2(0x21, tcp("::ffff:192.0.2.7", "::1")), CLIENT),
    (v2(0x31, b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")), None),
    (v2(0x00, b""), None),
    (v2(0x00, b"whatever it says"), None),
    (v2(0x11, tcp(CLIENT), command=0x20), None),
    (v2(0x00, b"", command=0x20), None),
    (v2(0x99, b"?", command=0x20), None),
    (v2(0x11, tcp(CLIENT), tlvs=tlv(0x02, b"app.example") + tlv(0xEA, b"")), CLIENT),
    (with_checksum(), CLIENT),
]
BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01",
    b"PROXY\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
    b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 01.2.3.4 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n",
    b"PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 nobody 4711 443\r\n",
    b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
    b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n",
    b"proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 " + b"1" * 100,
    v2(0x11, tcp(CLIENT), command=0x22),
    v2(0x11, tcp(CLIENT), command=0x11),
    v2(0x12, tcp(CLIENT)),
    v2(0x41, tcp(CLIENT)),
    v2(0x11, tcp(CLIENT)[:11]),
    v2(0x21, tcp(CLIENT)),
    v2(0x31, b"/run/client"),
    v2(0x11, b"", size=MAX_BYTES),
    v2(0x00, b"", size=0xFFFF, command=0x20),
    v2(0x11, tcp(CLIENT), tlvs=b"\x02\x00"),
    v2(0x11, tcp(CLIENT), tlvs=b"\x02\x00\x05four"),
    v2(0x11, tcp(CLIENT), tlvs=tlv(0x03, b"abc")),
    with_checksum(wrong=True),
]


def test_the_checksum_is_crc_32c():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(("header", "ip"), GOOD)
def test_a_header_names_the_client_and_ends_where_it_ends(header, ip):
    assert parse_proxy_header(header) == ProxyHeader(len(header), ip)
    assert parse_proxy_header(header + b"GET / HTTP/1.1\r\nPROXY \r\n") == ProxyHeader(len(header), ip)
    for cut in range(1, len(header)):
        assert parse_proxy_header(header[:cut]) is None, cut


@pytest.mark.parametrize("header", BAD)
def test_what_is_no_header_is_refused(header):
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(header)


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21\x11\x00\x0c"]), st.binary(max_size=300))
def test_any_bytes_are_read_waited_for_or_refused(start, rest):
    data = start + rest
    with suppress(ProxyHeaderError):
        header = parse_proxy_header(data)
        assert header is None or 0 < header.size <= len(data)
        if header is not None and header.ip is not None:
            ipaddress.ip_address(header.ip)


async def prefaced(url: str, *pieces: bytes) -> socket.socket:
    """Return a socket that has sent the pieces one by one, each in a segment of its own."""
    parts = urlsplit(url)
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (parts.hostname, parts.port))
    for piece in pieces:
        await loop.sock_sendall(raw, piece)
        await asyncio.sleep(0)
    return raw


@pytest.fixture
async def come(guest_token):
    """`await come(url, header, ...)`: a WebSocket that begins with a header, past its greeting."""
    opened: list[ClientConnection] = []

    async def open_one(url: str, *pieces: bytes, **options: object) -> ClientConnection:
        raw = await prefaced(url, *pieces)
        ws = await connect(f"{url}?token={guest_token()}", sock=raw, proxy=None, **options)
        opened.append(ws)
        return ws

    yield open_one
    for ws in opened:
        await ws.close()


async def said(ws: ClientConnection) -> str:
    return json.loads(await asyncio.wait_for(ws.recv(), HANG_S))["type"]


@pytest.fixture
def opened(caplog):
    """Return the peers of all connections that the log has seen opened."""
    caplog.set_level("INFO", "wsctl")
    return lambda: [record.fields["peer"] for record in caplog.records if record.getMessage() == "connection.opened"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("trickles", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "header", [GOOD[0][0], GOOD[1][0], GOOD[5][0], GOOD[6][0]], ids=["v1 4", "v1 6", "v2 4", "v2 6"]
)
async def test_the_client_is_who_the_proxy_says(
    start_server, come, opened, engine, header, trickles, tls, make_certificate
):
    settings, options = {}, {}
    if tls:
        certificate = make_certificate("127.0.0.1")
        settings = {"tls_cert": certificate.cert, "tls_key": certificate.key}
        options = {"ssl": ssl.create_default_context(cafile=str(certificate.cert))}
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED, **settings)
    pieces = [bytes([byte]) for byte in header] if trickles else [header]
    assert await said(await come(server.url, *pieces, **options)) == "session_created"
    assert opened() == [parse_proxy_header(header).ip]


async def test_a_header_and_the_request_behind_it_may_come_in_one_segment(start_server, engine, opened, guest_token):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED)
    raw = await prefaced(server.url, GOOD[5][0] + b"GET /healthz HTTP/1.0\r\n\r\n")
    reader, writer = await asyncio.open_connection(sock=raw)
    assert (await asyncio.wait_for(reader.read(), HANG_S)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def test_a_proxy_that_speaks_for_itself_or_for_nobody_is_the_client(start_server, come, opened, engine):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED)
    nameless = [header for header, ip in GOOD if ip is None]
    for header in nameless:
        assert await said(await come(server.url, header)) == "session_created"
    assert opened() == ["127.0.0.1"] * len(nameless)


async def ends(url: str, *pieces: bytes) -> bool:
    """Return whether the server hangs up without a word."""
    raw = await prefaced(url, *pieces)
    reader, writer = await asyncio.open_connection(sock=raw)
    received = b""
    with suppress(ConnectionError):
        received = await asyncio.wait_for(reader.read(), HANG_S)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return received == b""


@pytest.mark.parametrize("header", [BAD[0], BAD[1], BAD[3], BAD[-1]], ids=["HTTP", "TLS", "v1", "v2"])
async def test_a_trusted_peer_without_a_header_is_dropped_and_counted(start_server, come, engine, header):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED)
    assert await ends(server.url, header + b"GET /healthz HTTP/1.1\r\n\r\n")
    assert server.metrics.pending_dropped["proxy-header"].value == 1
    assert await said(await come(server.url, GOOD[0][0])) == "session_created"


async def test_nobody_else_may_write_a_header(start_server, engine):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=("192.0.2.1",))
    assert await ends(server.url, GOOD[0][0] + b"GET /healthz HTTP/1.1\r\n\r\n")
    assert await ends(server.url, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert server.metrics.pending_dropped["proxy-header"].value == 2


async def test_a_header_that_is_not_asked_for_is_no_request(start_server, engine):
    server = await start_server(engine=engine, trusted_proxies=TRUSTED)
    raw = await prefaced(server.url, GOOD[0][0] + b"GET /healthz HTTP/1.1\r\n\r\n")
    reader, writer = await asyncio.open_connection(sock=raw)
    assert (await asyncio.wait_for(reader.read(), HANG_S)).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("part", [b"", b"PROXY TCP4 ", GOOD[5][0][:-1]], ids=["nothing", "v1", "v2"])
async def test_a_header_that_does_not_end_has_the_time_of_the_handshake(start_server, engine, part):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED, handshake_timeout_ms=100)
    assert await ends(server.url, part)
    assert server.metrics.pending_dropped["timeout"].value == 1
    assert await ends(server.url, b"")


async def test_a_peer_that_goes_in_the_middle_of_its_header_leaves_nothing_behind(start_server, come, engine):
    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED)
    for part in (b"", b"PROXY ", GOOD[5][0][:20]):
        (await prefaced(server.url, part)).close()
    pending = server._sockets._reception.pending
    async with asyncio.timeout(HANG_S):
        while len(pending):
            await asyncio.sleep(0.01)
    assert await said(await come(server.url, GOOD[0][0])) == "session_created"
    assert server.metrics.pending_dropped["proxy-header"].value == 0


async def test_all_limits_count_by_the_client(start_server, come, engine):
    server = await start_server(
        engine=engine,
        proxy_protocol=True,
        trusted_proxies=TRUSTED,
        connections=ConnectionLimits(per_ip=1),
        pending=PendingLimits(per_ip=1),
    )
    assert await said(await come(server.url, v2(0x11, tcp("192.0.2.1")))) == "session_created"
    assert await said(await come(server.url, v2(0x11, tcp("192.0.2.2")))) == "session_created"
    refused = await come(server.url, v2(0x11, tcp("192.0.2.1")))
    await asyncio.wait_for(refused.wait_closed(), HANG_S)
    assert refused.close_code == 1013
    # The proxy's own address has no limit: all who come through it would share it.
    idle = [await prefaced(server.url) for _ in range(3)]
    first, other = (
        await prefaced(server.url, v2(0x11, tcp(CLIENT))),
        await prefaced(server.url, v2(0x11, tcp("192.0.2.9"))),
    )
    assert await ends_after(first, lambda: prefaced(server.url, v2(0x11, tcp(CLIENT))))
    assert server.metrics.pending_dropped["crowd"].value == 1
    for raw in (*idle, first, other):
        raw.close()


async def ends_after(raw: socket.socket, what) -> bool:
    another = await what()
    received = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 100), HANG_S)
    another.close()
    return received == b""


async def test_a_unix_socket_may_carry_it_too(start_server, opened, tmp_path, guest_token):
    from websockets.asyncio.client import unix_connect

    path = str(tmp_path / "s")
    await start_server(uds=path, proxy_protocol=True, trusted_proxies=("unix",))
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(path)
    raw.sendall(GOOD[5][0])
    raw.setblocking(False)
    async with unix_connect(sock=raw, uri=f"ws://x/socket.io/?token={guest_token()}") as ws:
        assert await said(ws) == "session_created"
    assert opened() == [CLIENT]


def test_somebody_has_to_be_trusted():
    with pytest.raises(ConfigError, match="--proxy-protocol: nobody is trusted"):
        ServerSettings(proxy_protocol=True)


@pytest.fixture
def haproxy(tmp_path) -> Iterator[Callable[[int, str], int]]:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("haproxy is not installed")
    processes: list[subprocess.Popen[bytes]] = []

    def start(port: int, send: str) -> int:
        own = free_port()
        config = tmp_path / "haproxy.cfg"
        config.write_text(
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
            f"listen wsctl\n    bind 127.0.0.1:{own}\n    option httpchk\n"
            f"    server wsctl 127.0.0.1:{port} {send} check inter 50ms\n"
        )
        processes.append(subprocess.Popen([program, "-db", "-f", str(config)], stderr=subprocess.DEVNULL))
        return own

    yield start
    for process in processes:
        process.kill()
        process.wait(HANG_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
async def test_haproxy_names_its_clients_and_its_default_check_finds_the_server_alive(
    start_server, haproxy, opened, engine, send, guest_token, caplog
):
    caplog.set_level("DEBUG", "wsctl")

    def checks() -> int:
        answers = [record.fields for record in caplog.records if record.getMessage() == "request.answered"]
        return sum(
            (answer["method"], answer["status"], answer["peer"]) == ("OPTIONS", 204, "127.0.0.1") for answer in answers
        )

    server = await start_server(engine=engine, proxy_protocol=True, trusted_proxies=TRUSTED)
    port = haproxy(urlsplit(server.url).port, send)
    async with asyncio.timeout(HANG_S):
        while True:
            with suppress(OSError, WebSocketException):
                ws = await connect(
                    f"ws://127.0.0.1:{port}/socket.io/?token={guest_token()}", proxy=None, local_addr=("127.0.0.7", 0)
                )
                break
            await asyncio.sleep(0.05)
    async with ws:
        assert await said(ws) == "session_created"
        assert opened() == ["127.0.0.7"]
        async with asyncio.timeout(HANG_S):  # several checks later it is still taken for alive
            while checks() < 4:
                await asyncio.sleep(0.01)
        async with connect(f"ws://127.0.0.1:{port}/socket.io/?token={guest_token()}", proxy=None) as another:
            assert await said(another) == "session_created"
    assert server.metrics.pending_dropped["proxy-header"].value == 0

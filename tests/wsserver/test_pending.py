"""Connections that are still in their handshake: counted from accept() on, by client, and dropped oldest first."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from wscore.ratelimit import Rate
from wsserver.engines.pending import FILES_SHARE, Pending, PendingLimits
from wsserver.telemetry.drops import DropWatch
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

HANG_S = 20
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class One:
    """A pending connection that notes when it is dropped."""

    def __init__(self) -> None:
        self.client: str | None = None
        self.deadline_s = 0.0
        self.is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


class Crowd:
    """Connections that come to a `Pending`."""

    def __init__(self, limits: PendingLimits, timeout_s: float = HANG_S) -> None:
        self.metrics = Metrics()
        self.now_s = 1000.0
        self.pending = Pending(limits, timeout_s, self.metrics, lambda: self.now_s)

    def come(self, ip: str | None) -> One | None:
        """Return the newcomer, None if it is over its rate."""
        one = One()
        self.pending.enter(one)
        if self.pending.identify(one, ip):
            return one
        self.pending.leave(one)
        return None


def dropped(ones: list[One | None]) -> list[int]:
    return [n for n, item in enumerate(ones) if item is not None and item.is_dropped]


async def test_of_too_many_in_all_the_oldest_go():
    crowd = Crowd(PendingLimits(total=3))
    ones = [crowd.come(f"192.0.2.{n}") for n in range(5)]
    assert dropped(ones) == [0, 1]
    assert (len(crowd.pending), crowd.metrics.pending_dropped["crowd"].value) == (3, 2)


async def test_of_too_many_from_one_address_its_oldest_go_and_nobody_elses():
    crowd = Crowd(PendingLimits(per_ip=2))
    ones = [crowd.come("192.0.2.1" if n % 2 else f"192.0.2.1{n}") for n in range(8)]
    assert dropped(ones) == [1, 3]
    assert crowd.metrics.pending_dropped["crowd"].value == 2


@pytest.mark.parametrize(
    ("a", "b", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_a_client_is_an_ipv4_address_or_an_ipv6_network(a, b, is_one):
    crowd = Crowd(PendingLimits(per_ip=1))
    assert dropped([crowd.come(a), crowd.come(b)]) == ([0] if is_one else [])
    crowd = Crowd(PendingLimits(rate=Rate(1, 1)))
    assert [crowd.come(ip) is not None for ip in (a, b)] == [True, not is_one]


async def test_those_that_are_done_make_room():
    crowd = Crowd(PendingLimits(total=2, per_ip=1))
    for _ in range(5):
        one = crowd.come("192.0.2.1")
        assert one is not None
        crowd.pending.leave(one)
        crowd.pending.leave(one)
        assert not one.is_dropped
    assert (len(crowd.pending), crowd.metrics.pending_dropped["crowd"].value) == (0, 0)


async def test_a_unix_socket_has_no_limit_per_address():
    crowd = Crowd(PendingLimits(total=10, per_ip=1, rate=Rate(1, 1)))
    assert dropped([crowd.come(None) for _ in range(10)]) == []


async def test_new_connections_have_a_rate_with_a_burst_for_each_address():
    crowd = Crowd(PendingLimits(rate=Rate(2, 4)))
    assert [crowd.come("192.0.2.1") is not None for _ in range(6)] == [True] * 4 + [False] * 2
    assert crowd.come("192.0.2.2") is not None
    crowd.now_s += 1
    assert [crowd.come("192.0.2.1") is not None for _ in range(3)] == [True, True, False]
    assert crowd.metrics.pending_dropped["rate"].value == 3
    assert crowd.metrics.pending_dropped["crowd"].value == 0


async def test_addresses_that_were_quiet_are_forgotten():
    crowd = Crowd(PendingLimits(rate=Rate(1, 1)))
    for n in range(10_000):
        crowd.now_s += 0.01
        one = crowd.come(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        assert one is not None
        crowd.pending.leave(one)
    assert len(crowd.pending._rates) < 2000


async def test_who_takes_too_long_is_dropped_and_the_others_stay():
    crowd = Crowd(PendingLimits(), timeout_s=0.05)
    first = crowd.come(None)
    assert first is not None
    async with asyncio.timeout(HANG_S):
        while not first.is_dropped:
            await asyncio.sleep(0.01)
    assert (len(crowd.pending), crowd.metrics.pending_dropped["timeout"].value) == (0, 1)
    second, third = crowd.come(None), crowd.come(None)
    assert second is not None
    assert third is not None
    crowd.pending.leave(second)
    async with asyncio.timeout(HANG_S):
        while not third.is_dropped:
            await asyncio.sleep(0.01)
    assert not second.is_dropped
    crowd.pending.close()


def test_half_of_the_descriptors_is_left_to_connections():
    limits = PendingLimits(total=1000, per_ip=5)
    assert limits.within(None) == limits
    assert limits.within(1_000_000) == limits
    assert limits.within(400) == PendingLimits(total=400 // FILES_SHARE, per_ip=5)
    assert PendingLimits().within(400) == PendingLimits()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[[str], Awaitable[Stream]]]:
    """Open TCP connections, which are dropped afterwards."""
    streams: list[Stream] = []

    async def connect(url: str) -> Stream:
        parts = urlsplit(url)
        streams.append(await asyncio.open_connection(parts.hostname, parts.port))
        return streams[-1]

    yield connect
    for _, writer in streams:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def is_dropped(stream: Stream) -> bool:
    with suppress(ConnectionError):
        return await asyncio.wait_for(stream[0].read(), HANG_S) == b""
    return True


@pytest.mark.parametrize("kind", ["idle", "half a head", "TLS"])
async def test_a_newcomer_takes_the_place_of_the_oldest_whatever_it_waits_for(
    start_server, open_raw, dial, engine, kind, make_certificate
):
    settings = {}
    if kind == "TLS":
        certificate = make_certificate("127.0.0.1")
        settings = {"tls_cert": certificate.cert, "tls_key": certificate.key}
    server = await start_server(engine=engine, pending=PendingLimits(total=3), **settings)
    streams = []
    for _ in range(3):
        streams.append(await dial(server.url))
        if kind == "half a head":
            streams[-1][1].write(b"GET /socket.io/ HTTP/1.1\r\nHost: x\r\n")
        if kind == "TLS":
            streams[-1][1].write(b"\x16\x03\x01")
    client = await open_raw(server.url, **({"ssl": trusting(certificate)} if kind == "TLS" else {}))
    assert await is_dropped(streams[0])
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"
    assert server.metrics.pending_dropped["crowd"].value == 1
    another = await open_raw(server.url, **({"ssl": trusting(certificate)} if kind == "TLS" else {}))
    assert another.greeting["type"] == "session_created"
    assert server.metrics.pending_dropped["crowd"].value == 1  # who got in is pending no longer


def trusting(certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.cert))


async def test_who_connects_too_often_is_turned_away_for_a_while(start_server, open_raw, dial, engine):
    server = await start_server(engine=engine, pending=PendingLimits(rate=Rate(0.001, 2)))
    for _ in range(2):
        assert (await open_raw(server.url)).greeting["type"] == "session_created"
    assert await is_dropped(await dial(server.url))
    assert server.metrics.pending_dropped["rate"].value == 1


async def test_behind_a_proxy_the_rate_is_the_clients_and_its_refusal_an_answer(start_server, open_raw, dial, engine):
    server = await start_server(
        engine=engine, trusted_proxies=("127.0.0.1",), pending=PendingLimits(per_ip=1, rate=Rate(0.001, 1))
    )
    for ip in ("192.0.2.1", "192.0.2.2"):
        await open_raw(server.url, additional_headers={"X-Forwarded-For": ip})
    reader, writer = await dial(server.url)
    writer.write(b"GET /healthz HTTP/1.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), HANG_S)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert server.metrics.pending_dropped["rate"].value == 1


def test_drops_are_told_in_the_log_at_once_and_then_every_ten_seconds(caplog):
    metrics = Metrics()
    now_s = 100.0
    watch = DropWatch(metrics, EventLog(), lambda: now_s)

    def told() -> list[dict[str, int]]:
        fields = [record.fields for record in caplog.records if record.getMessage() == "connections.dropped"]
        caplog.clear()
        return fields

    watch.check()
    assert told() == []
    metrics.pending_dropped["crowd"].value = 3
    now_s = 101
    watch.check()
    assert told() == [{"handshakes_dropped": 3}]
    metrics.pending_dropped["crowd"].value, metrics.pending_dropped["rate"].value = 10, 5
    now_s = 110.9
    watch.check()
    assert told() == []
    now_s = 111
    watch.check()
    assert told() == [{"handshakes_dropped": 7, "connections_over_rate": 5}]


async def test_a_server_that_stops_tells_the_rest(start_server, dial, caplog):
    server = await start_server(pending=PendingLimits(total=1))
    streams = [await dial(server.url) for _ in range(3)]
    assert await is_dropped(streams[1])
    await server.stop()
    told = [record.fields for record in caplog.records if record.getMessage() == "connections.dropped"]
    assert sum(fields["handshakes_dropped"] for fields in told) == 2

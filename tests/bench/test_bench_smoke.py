"""The load generator counts right: what it says was delivered is what was sent, times the receivers."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from tests.bench import broker, constants, openload, operations, receiving
from tests.bench.contenders import Heartbeat, Server, running
from tests.bench.generator import BenchError, Generator, build, compiler
from tests.conftest import now_ms
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.guest import mint_guest_token
from wscore.tokens import mint_jwt

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")

SECRET = secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Generator(build(tmp_path_factory.mktemp("bench")))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("wsctl", secret=SECRET, heartbeat=Heartbeat(100, 60_000), core=None) as server:
        yield server


@pytest.fixture
def guests(tmp_path: Path) -> Path:
    file = tmp_path / "guests"
    file.write_text("\n".join(mint_guest_token(uuid.uuid4(), now_ms()) for _ in range(10)))
    return file


def test_every_ping_of_the_generator_is_answered(generator, server, guests):
    figures = generator.run("ping", port=server.port, tokens=guests, seconds=0.3, warmup=0, conns=5)
    assert figures["count"] > 0
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["max_us"]
    assert figures["lost"] == 0


def test_a_bounded_broadcast_reaches_every_receiver_exactly_once(generator, server, guests):
    figures = generator.run(
        "broadcast",
        port=server.port,
        tokens=guests,
        seconds=30,
        session="a",
        conns=20,
        senders=3,
        window=2,
        messages=50,
    )
    assert figures["sends"] == 3 * 50
    assert figures["count"] == 3 * 50 * 20
    assert figures["fewest_messages"] == figures["most_messages"] == 3 * 50
    assert figures["seconds"] < 30


def test_an_open_ended_broadcast_delivers_to_everyone(generator, server, guests):
    figures = generator.run(
        "broadcast", port=server.port, tokens=guests, seconds=0.3, warmup=0, session="b", conns=20, senders=2
    )
    assert figures["count"] > 0
    assert figures["fewest_messages"] > 0


def test_pings_at_a_fixed_rate_come_back_while_heartbeats_are_answered(generator, server, guests):
    figures = generator.run("rate", port=server.port, tokens=guests, seconds=0.5, warmup=0.1, conns=5, rate=200)
    assert figures["count"] > 0
    assert figures["fewest_server_pings"] > 0


def test_connects_with_a_jwt_are_counted(generator, server, tmp_path):
    tokens = tmp_path / "jwts"
    tokens.write_text(mint_jwt(SECRET.encode(), {"sub": "alice", "exp": now_ms() // 1000 + 3600}))
    figures = generator.run("connect", port=server.port, tokens=tokens, seconds=0.3, warmup=0, conns=4)
    assert figures["count"] > 0
    assert figures["failed"] == 0


def test_a_refused_token_ends_the_generator_with_the_reason(generator, server, tmp_path):
    tokens = tmp_path / "bad"
    tokens.write_text("guest_nobody_1\n")
    with pytest.raises(BenchError, match="AUTH_INVALID"):
        generator.run("ping", port=server.port, tokens=tokens, seconds=0.3, conns=1)


def test_idle_connections_are_open_while_they_are_held(generator, server, guests):
    with generator.holding(20, port=server.port, tokens=guests):
        assert len(list(Path(f"/proc/{server.pid}/fd").iterdir())) >= 20


@pytest.mark.parametrize("name", receiving.FRAMES)
async def test_each_frame_of_the_bench_of_the_client_is_a_message(name):
    assert await receiving.per_message_us(name, rounds=1, count=100) > 0
    reading = ProtocolSettings(name=name).adapter(now_ms).read(receiving.FRAMES[name])
    assert (reading.message is None) is (name is ProtocolName.RAW)


def test_the_bench_of_the_broker_measures_both_ways(start_redis):
    ways = (broker.PUBLISHED, broker.RECEIVED_ALONE)
    found = broker.measure(1, 320, ways)
    assert tuple(found) == ways
    assert all(ours > 0 and plain > 0 and ratio == plain / ours for ours, plain, ratio in found.values())


def test_an_open_load_is_sent_when_it_is_due_and_reaches_its_whole_session(generator, server, guests):
    figures = generator.run(
        "open",
        port=server.port,
        tokens=guests,
        seconds=0.5,
        warmup=0.1,
        session="open",
        sessions=2,
        conns=20,
        senders=4,
        rate=200,
        server_pids=f"{server.pid},{server.pid}",
    )
    assert figures["sends"] >= 90  # of 100: one is late by as much as the machine is busy
    assert 0 < figures["p50_us"] <= figures["p99_us"]
    assert figures["fewest_messages"] >= 45
    assert len(figures["server_cpus"]) == 2
    assert figures["server_cpus"][0] >= 0


async def test_a_delivery_that_does_not_come_fails_an_open_load(generator, guests):
    async def forgetful(connection):
        await connection.send('{"type":"session_created"}')
        number = 0
        async for message in connection:
            number += 1
            if number % 5:
                await connection.send(message)

    async with serve(forgetful, "127.0.0.1", 0) as server:
        options = {"session": "a", "conns": 1, "rate": 100, "seconds": 0.3, "warmup": 0, "timeout": 1}
        with pytest.raises(BenchError, match="deliveries came of"):
            await asyncio.to_thread(
                generator.run, "open", port=server.sockets[0].getsockname()[1], tokens=guests, **options
            )


def test_closed_loads_of_several_sessions_stay_apart(generator, server, guests):
    figures = generator.run(
        "broadcast", port=server.port, tokens=guests, seconds=0.3, warmup=0, session="c", sessions=5, conns=5, senders=5
    )
    assert 0 < figures["fewest_messages"] <= figures["most_messages"] < figures["count"]


@pytest.mark.slow
def test_two_workers_and_their_redis_are_measured_apart(generator, guests, start_redis):
    load = openload.OpenLoad("few", 1, 2, 10, 50)
    found = openload.measure(generator, load, openload.TWO, tokens=guests, secret=SECRET, seconds=1)
    assert len(found.workers) == 2
    assert found.spread == 0.5
    assert found.busiest < 1
    assert found.resident_mib > 20


@pytest.mark.slow
def test_each_constant_of_the_calculation_is_measured(generator, guests, start_redis, monkeypatch):
    monkeypatch.setattr(constants, "MESSAGES", 640)
    monkeypatch.setattr(constants, "CALLS", 1000)
    run = partial(openload.measure, generator, tokens=guests, secret=SECRET, seconds=0.5)
    found = constants.measure(run, 1)
    assert {"TAKE_US", "WRITE_US", "WAKE_US", "PUBLISH_US", "HEAR_US", "PUSH_US", "WORKER_BYTES"} <= found.keys()
    assert found["WRITE_US"][0] > 0
    assert all(here > 0 for _, here in found.values())


def test_the_bench_of_the_operations_port_measures_all_that_it_tells(generator, monkeypatch, guests):
    for name, times in {"PUBLISHES": 800, "SCRAPES": 40, "SAMPLES": 20}.items():  # many ticks of the kernel's clock
        monkeypatch.setattr(operations, name, times)
    with operations.serving() as server, generator.holding(20, port=server.port, tokens=guests):
        costs = operations.measure(server, 20, 1)
    assert costs.keys() == {"publish", "scrape", "top"}
    assert 0 < costs["publish"] < costs["top"]

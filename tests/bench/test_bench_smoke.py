"""The load generator counts right: what it says was delivered is what was sent, times the receivers."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import broker, receiving
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
    found = broker.measure(1, 320)
    assert found.keys() == broker.PROMISED_US.keys()
    assert all(ours > 0 and plain > 0 and ratio == plain / ours for ours, plain, ratio in found.values())

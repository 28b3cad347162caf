"""What is measured: each scenario drives one fresh server and returns one figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.contenders import Heartbeat, Server
from tests.bench.generator import BenchError, Generator

IDLE_CONNECTIONS = 2000
SETTLE_S = 1.0
PINGS_A_SECOND = 20_000
USUAL_HEARTBEAT = Heartbeat()
HELD_CONNECTIONS = 10_000
HELD_HEARTBEAT = Heartbeat(5_000, 12_000)
HELD_S = 12.0  # in which everyone is pinged twice


@dataclass(frozen=True, slots=True)
class Bench:
    """What a scenario works with: the generator, its tokens, and how long to measure."""

    generator: Generator
    guests: Path
    jwts: Path
    seconds: float
    warmup_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, the generator's own figures beside it, and the CPU shares of both sides (1.0: a whole core)."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


Run = Callable[[Bench, Server], Sample]


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A name, how it is shown, and how it runs. Of a rate more is better, of anything else less.

    `floors` are the least ratios to other servers that the project promises itself, `aims` those that it wants; `most`
    is the largest figure. Of a rate the ratios are those of the server's processor time for one message.
    """

    name: str
    title: str
    unit: str
    run: Run
    is_rate: bool = True
    floors: dict[str, float] = field(default_factory=dict)
    aims: dict[str, float] = field(default_factory=dict)
    most: float | None = None
    heartbeat: Heartbeat = USUAL_HEARTBEAT
    repeats: int | None = None


def _load(mode: str, figure: str, bench: Bench, server: Server, **options: object) -> Sample:
    options = {"tokens": bench.guests, "seconds": bench.seconds, "warmup": bench.warmup_s, **options}
    figures = bench.generator.run(mode, port=server.port, server_pids=server.pid, **options)  # type: ignore[arg-type]
    if figures["lost"] or figures["failed"]:
        raise BenchError(f"{figures['lost']} connections were lost, {figures['failed']} refused")
    return Sample(figures[figure], figures)


def _ping(bench: Bench, server: Server) -> Sample:
    return _load("ping", "per_second", bench, server, conns=100)


def _broadcast(senders: int, receivers: int, bench: Bench, server: Server) -> Sample:
    return _load("broadcast", "per_second", bench, server, conns=receivers, senders=senders, session="room")


def _connect(bench: Bench, server: Server) -> Sample:
    return _load("connect", "per_second", bench, server, conns=32, tokens=bench.jwts)


def _rate(bench: Bench, server: Server) -> Sample:
    sample = _load("rate", "p99_us", bench, server, conns=100, rate=PINGS_A_SECOND)
    return Sample(sample.value / 1000, sample.details)


def _idle(bench: Bench, server: Server) -> Sample:
    hold = partial(bench.generator.holding, port=server.port, tokens=bench.guests)
    with hold(50):  # what is loaded or allocated with the first connections is not theirs
        time.sleep(SETTLE_S / 2)
    time.sleep(SETTLE_S / 2)
    before = server.rss_kib()
    with hold(IDLE_CONNECTIONS):
        time.sleep(SETTLE_S)
        after = server.rss_kib()
    return Sample((after - before) / IDLE_CONNECTIONS, {"before_kib": before, "after_kib": after})


def _hold(bench: Bench, server: Server) -> Sample:
    options = {"conns": HELD_CONNECTIONS, "rate": 1000, "probes": 100, "seconds": HELD_S}
    sample = _load("rate", "p99_us", bench, server, **options)
    if sample.details["fewest_server_pings"] < HELD_S * 1000 // HELD_HEARTBEAT.interval_ms:
        raise BenchError("a connection missed a heartbeat")
    return Sample(sample.value / 1000, sample.details)


SCENARIOS = (
    Scenario("ping", "ping→pong, 100 connections", "k/s", _ping, floors={"node": 1.2, "bun": 0.62}, aims={"bun": 0.95}),
    Scenario(
        "1x1000",
        "broadcast 1×1,000",
        "k/s",
        partial(_broadcast, 1, 1000),
        floors={"node": 1.35, "bun": 0.7},
        aims={"bun": 0.95},
    ),
    Scenario(
        "10x1000",
        "broadcast 10×1,000",
        "k/s",
        partial(_broadcast, 10, 1000),
        floors={"node": 12, "bun": 0.72},
        aims={"bun": 1.0},
    ),
    Scenario("100x100", "broadcast 100×100", "k/s", partial(_broadcast, 100, 100), floors={"node": 40, "bun": 1.4}),
    Scenario("connect", "authenticated connects (JWT)", "/s", _connect, floors={"node": 1.0}),
    Scenario("rate", f"p99 at {PINGS_A_SECOND // 1000} k pings/s", "ms", _rate, is_rate=False),
    Scenario("idle", "idle memory a connection", "KiB", _idle, is_rate=False, most=12),
    Scenario(
        "hold",
        f"p99 with {HELD_CONNECTIONS:,} connections held",
        "ms",
        _hold,
        is_rate=False,
        most=100,
        heartbeat=HELD_HEARTBEAT,
        repeats=1,
    ),
)

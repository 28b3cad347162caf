"""Heartbeats: 25 s and 60 s on a fake clock, and once for real with short settings."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from wscore.heartbeat import HeartbeatPolicy
from wsserver.clock import Clock
from wsserver.liveness import HeartbeatWheel

SEED = HeartbeatPolicy(25_000, 60_000)


class FakeTime:
    """A wheel and the time it is told."""

    def __init__(self, policy: HeartbeatPolicy) -> None:
        self.wheel = HeartbeatWheel(policy)
        self.now_s = 1000.0
        self.pinged: dict[str, list[float]] = {}
        self.gone: dict[str, float] = {}

    def connect(self, name: str):
        connection = SimpleNamespace(id=name, last_seen_s=self.now_s)
        self.wheel.add(connection)
        return connection

    def run(self, seconds: float) -> None:
        end = self.now_s + seconds
        while self.now_s + self.wheel.tick_s <= end + 1e-9:
            self.now_s += self.wheel.tick_s
            gone, due = self.wheel.advance(self.now_s)
            for connection in gone:
                self.gone[connection.id] = self.now_s
                self.wheel.remove(connection)
            for connection in due:
                self.pinged.setdefault(connection.id, []).append(self.now_s)


def test_a_connection_is_pinged_every_25_s_from_its_own_start():
    time = FakeTime(SEED)
    early = time.connect("early")
    time.run(10)
    late = time.connect("late")
    for _ in range(9):
        time.run(10)
        early.last_seen_s = late.last_seen_s = time.now_s
    assert time.pinged["early"] == pytest.approx([1025, 1050, 1075, 1100])
    assert time.pinged["late"] == pytest.approx([1035, 1060, 1085])
    assert not time.gone


def test_a_silent_connection_is_gone_within_a_tick_of_60_s():
    time = FakeTime(SEED)
    time.connect("silent")
    time.run(60)
    assert not time.gone
    time.run(time.wheel.tick_s * 2)
    assert time.gone["silent"] == pytest.approx(1060, abs=time.wheel.tick_s + 0.01)


def test_any_sign_of_life_moves_the_deadline():
    time = FakeTime(SEED)
    connection = time.connect("chatty")
    time.run(50)
    connection.last_seen_s = time.now_s
    time.run(59)
    assert not time.gone
    time.run(2)
    assert time.gone["chatty"] == pytest.approx(1110, abs=time.wheel.tick_s + 0.01)


def test_a_connection_that_left_is_neither_pinged_nor_reaped():
    time = FakeTime(SEED)
    connection = time.connect("gone")
    time.run(55)
    time.wheel.remove(connection)
    pings = len(time.pinged["gone"])
    time.run(100)
    assert len(time.pinged["gone"]) == pings
    assert not time.gone


def test_ten_thousand_connections_spread_over_the_turn():
    time = FakeTime(SEED)
    for n in range(1000):
        time.connect(str(n))
        time.run(0.025)
    gone, due = time.wheel.advance(time.now_s)
    assert len(due) <= 20
    assert not gone


async def test_the_server_pings_and_closes_with_4002_for_real(start_server, open_raw, engine):
    server = await start_server(engine=engine, heartbeat=HeartbeatPolicy(100, 350))
    silent, lively = await open_raw(server.url), await open_raw(server.url)

    async def answer() -> None:
        while True:
            ping = await lively.receive_type("ping")
            assert ping["data"]["timestamp"] > 1_600_000_000_000
            await lively.send("pong", ping["data"])

    answering = asyncio.create_task(answer())
    envelopes, code, reason = await silent.received_until_closed()
    assert (code, reason) == (4002, "Connection timeout")
    assert {one["type"] for one in envelopes} == {"ping"}
    assert not answering.done()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    await lively.send("ping")
    assert (await lively.receive_type("pong"))["type"] == "pong"


async def test_a_stalled_loop_reads_before_it_reaps(start_server, open_raw, engine):
    skew = SimpleNamespace(s=0.0)
    loop = asyncio.get_running_loop()
    clock = Clock(now_s=lambda: loop.time() + skew.s)
    server = await start_server(engine=engine, clock=clock, heartbeat=HeartbeatPolicy(100, 60_000))
    client = await open_raw(server.url)
    await client.send("ping")
    skew.s = 100  # as if the process had been stopped for 100 s with this ping waiting in its socket
    assert (await client.receive_type("pong"))["type"] == "pong"
    assert (await client.receive_type("ping"))["type"] == "ping"
    assert server.counters.heartbeat_timeouts == 0

"""Heartbeats: 25 s and 60 s on a fake clock, and once for real with short settings."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wscore.heartbeat import HeartbeatPolicy
from wsserver import App, Context
from wsserver.connections.handlerqueue import HIGH_WATER
from wsserver.lifetime.wheel import HeartbeatWheel, Pace
from wsserver.telemetry.clock import Clock

SEED = HeartbeatPolicy(25_000, 60_000)


class FakeTime:
    """A wheel that turns without delay; its time starts at 0."""

    def __init__(self, policy: HeartbeatPolicy) -> None:
        self.wheel = HeartbeatWheel(policy)
        self.pinged: dict[str, list[float]] = {}
        self.gone: dict[str, float] = {}

    @property
    def now_s(self) -> float:
        return self.wheel.now_s

    def connect(self, name: str):
        connection = SimpleNamespace(id=name, last_seen_s=self.now_s)
        self.wheel.add(connection)
        return connection

    def run(self, seconds: float) -> None:
        end = self.now_s + seconds
        while self.now_s + self.wheel.tick_s <= end + 1e-9:
            gone, due = self.wheel.advance()
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
    assert time.pinged["early"] == pytest.approx([25, 50, 75, 100])
    assert time.pinged["late"] == pytest.approx([35, 60, 85])
    assert not time.gone


def test_a_silent_connection_is_gone_within_two_ticks_of_60_s():
    time = FakeTime(SEED)
    time.connect("silent")
    time.run(60)
    assert not time.gone
    time.run(time.wheel.tick_s * 2)
    assert time.gone["silent"] == pytest.approx(60, abs=2 * time.wheel.tick_s + 0.01)


def test_any_sign_of_life_moves_the_deadline():
    time = FakeTime(SEED)
    connection = time.connect("chatty")
    time.run(50)
    connection.last_seen_s = time.now_s
    time.run(59)
    assert not time.gone
    time.run(2)
    assert time.gone["chatty"] == pytest.approx(110, abs=2 * time.wheel.tick_s + 0.01)


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
    gone, due = time.wheel.advance()
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
    assert {envelope["type"] for envelope in envelopes} == {"ping"}
    assert not answering.done()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    await lively.send("ping")
    assert (await lively.receive_type("pong"))["type"] == "pong"


class Loop:
    """A server's loop in time that a test makes, with clients that answer each ping as soon as they can.

    Their answers can be read in the turn after the ping's; whether a turn reads or ticks first, event loops differ.
    """

    def __init__(self, policy: HeartbeatPolicy, *, reads_first: bool, now_s: float = 1000.0) -> None:
        self.wheel = HeartbeatWheel(policy)
        self.pace = Pace(policy, self.wheel.tick_s, now_s)
        self.now_s = now_s
        self.gone: list[str] = []
        self.pings = 0
        self._reads_first = reads_first
        self._answers: list[Any] = []

    def connect(self, name: str):
        connection = SimpleNamespace(id=name, last_seen_s=self.wheel.now_s)
        self.wheel.add(connection)
        return connection

    def turn(self, seconds: float, silent: Collection[str] = ()) -> None:
        """Let a turn of the loop take so long; at its end comes the next."""
        self.now_s += seconds
        readable, self._answers = self._answers, []
        for step in (self._read, self._tick) if self._reads_first else (self._tick, self._read):
            step(readable)
        self._answers = [answer for answer in self._answers if answer.id not in silent]

    def idle(self, seconds: float, silent: Collection[str] = ()) -> None:
        """Let nothing be late for so long."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.turn(min(max(self.pace.due_s - self.now_s, 0), end_s - self.now_s) or 1e-6, silent)

    def _read(self, readable: list[Any]) -> None:
        for connection in readable:
            connection.last_seen_s = self.wheel.now_s

    def _tick(self, _: object) -> None:
        for _ in range(self.pace.ticks(self.now_s)):
            gone, due = self.wheel.advance()
            self.gone += [connection.id for connection in gone]
            self._answers += due
            self.pings += len(due)


@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize("stall_s", [5, 59, 61, 70, 1e6])
def test_after_a_stall_of_any_length_nobody_who_answers_is_closed(reads_first, stall_s):
    loop = Loop(SEED, reads_first=reads_first)
    for number in range(100):
        loop.connect(str(number))
        loop.idle(0.25)
    loop.idle(100)
    loop.turn(stall_s)
    loop.idle(200)
    assert not loop.gone
    assert loop.pings > 1000


@pytest.mark.parametrize("reads_first", [True, False])
def test_a_silent_one_is_closed_after_a_stall_no_later_than_without_one(reads_first):
    loop = Loop(SEED, reads_first=reads_first)
    loop.connect("silent")
    loop.connect("lively")
    loop.idle(40, silent={"silent"})
    loop.turn(1000)
    loop.idle(11, silent={"silent"})  # of the stall at most 8.5 s count
    assert not loop.gone
    loop.idle(10, silent={"silent"})
    assert loop.gone == ["silent"]


@settings(max_examples=300, deadline=None)
@given(
    interval_ms=st.integers(100, 60_000),
    slack=st.floats(0.1, 3),
    stalls_s=st.lists(st.one_of(st.floats(1e-4, 3), st.floats(1e-4, 1000)), min_size=1, max_size=200),
    reads_first=st.booleans(),
)
def test_whatever_the_loop_is_held_up_by_nobody_who_answers_is_closed(interval_ms, slack, stalls_s, reads_first):
    policy = HeartbeatPolicy(interval_ms, int(interval_ms * (1 + slack)))
    loop = Loop(policy, reads_first=reads_first)
    for number in range(5):
        loop.connect(str(number))
        loop.idle(interval_ms / 5000)
    for seconds in stalls_s:
        loop.turn(seconds)
    assert not loop.gone


def test_small_delays_do_not_add_up():
    loop = Loop(SEED, reads_first=True)
    loop.connect("one")
    for _ in range(40_000):
        loop.turn(0.013)
    assert loop.pings == int(40_000 * 0.013 / 25)


async def test_the_server_itself_is_late_and_nobody_pays_for_it(start_server, open_raw, engine):
    skew = SimpleNamespace(s=0.0)
    loop = asyncio.get_running_loop()
    clock = Clock(now_s=lambda: loop.time() + skew.s)
    server = await start_server(engine=engine, clock=clock, heartbeat=HeartbeatPolicy(100, 60_000))
    client = await open_raw(server.url)
    for _ in range(3):
        skew.s += 100  # as if the process had been stopped for so long, with nothing in flight
        assert (await client.receive_type("ping"))["type"] == "ping"
        await client.send("pong")
    assert server.metrics.value("wsctl_connections_closed_total", disconnect="heartbeat-timeout") == 0
    assert server.metrics.stalls.value == 3


async def test_a_client_that_the_server_does_not_read_is_not_timed_out(start_server, open_raw, engine):
    app = App()
    held = asyncio.Event()

    @app.on("slow")
    async def slow(ctx: Context) -> None:
        await held.wait()

    server = await start_server(app=app, engine=engine, heartbeat=HeartbeatPolicy(50, 150))
    client = await open_raw(server.url)
    for _ in range(HIGH_WATER + 1):
        await client.send("slow")
    for _ in range(10):
        await client.receive_type("ping")  # none of them is answered
    held.set()
    await client.send("ping")
    assert (await client.receive_type("pong"))["type"] == "pong"
    assert server.metrics.value("wsctl_connections_closed_total", disconnect="heartbeat-timeout") == 0

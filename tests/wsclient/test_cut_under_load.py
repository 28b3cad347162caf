"""Clients that are cut at random while others publish: inside the window nothing is lost, doubled or out of order.

Outside of it they are told. This is the client as people use it; `tests/wsserver` does the same with a raw one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.relay import Relay
from tests.wsserver.brokers.faultrelay import FaultRelay
from wsclient import Client, GroupEvent, Lost, Opened, Received, ReconnectPolicy, Replayed, Resumed
from wscore.recovery import RecoveryLimits
from wsserver import WebSocketServer
from wsserver.brokers.redistarget import read_target

HANG_S = 20
SEEDS = max(1, int(os.environ.get("CHAOS_SEEDS", "30")) // 100)
AT_ONCE = ReconnectPolicy(base_ms=1, cap_ms=5)
SESSION, ROOM = None, "hall"  # as GroupEvent.room has it
GREETS = 1500  # bytes, with the answer to the upgrade and the first of what is replayed
WIDE = RecoveryLimits(messages=20_000, size=400_000, age_s=600)
NARROW = RecoveryLimits(messages=5)


class Listener:
    """What one client was shown, as it comes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.shown: dict[tuple[str | None, str, int], int] = {}
        self.stands: dict[str | None, tuple[str, int]] = {}
        self.seen: dict[str | None, list[int]] = {SESSION: [], ROOM: []}
        self.lost = self.resumed = self.replayed = 0
        self.faults: list[str] = []
        self.came = asyncio.Event()
        client.watch(self.take)

    def take(self, event: object) -> None:
        if isinstance(event, Opened):
            recovery = event.session.recovery
            self.stands.setdefault(SESSION, (recovery.epoch, recovery.seq))
        elif isinstance(event, Lost):
            self.lost += 1
            self.stands[event.room] = event.epoch, event.seq
        elif isinstance(event, Resumed):
            self.resumed += event.room is SESSION
        elif isinstance(event, Replayed):
            self.replayed += event.count
        elif isinstance(event, GroupEvent):
            pass  # a gap is asked for again: it must close, or be told as lost
        elif isinstance(event, Received):
            self.read(json.loads(event.text))
        self.came.set()

    def read(self, envelope: dict[str, Any]) -> None:
        if envelope["type"] == "room.joined":
            recovery = envelope["data"]["recovery"]
            self.stands.setdefault(ROOM, (recovery["epoch"], recovery["seq"]))
        if envelope["type"] != "note":
            return
        group, number, came = envelope.get("room"), envelope["data"], envelope["seq"]
        epoch, seq = self.stands[group]
        if came != seq + 1:
            self.faults.append(f"{group}: {came} came after {seq}")
        self.shown[group, epoch, came] = number
        self.stands[group] = epoch, came
        self.seen[group].append(number)

    async def wait_for(self, stands: dict[str | None, tuple[str, int]]) -> None:
        while self.stands != stands and not self.faults:
            self.came.clear()
            await self.came.wait()


class Publishing:
    """Publishes to a session and a room, at any of the servers, until it is told `over`."""

    def __init__(self, rng: random.Random, *servers: WebSocketServer) -> None:
        self.rng = rng
        self.servers = servers
        self.published: dict[tuple[str | None, str, int], int] = {}
        self.last: dict[str | None, tuple[str, int]] = {}
        self.number = 0
        self._is_over = asyncio.Event()
        self._task = asyncio.create_task(self._go_on())

    async def publish(self, group: str | None) -> None:
        number = self.number
        self.number += 1
        hub = self.rng.choice(self.servers).hub
        result = await hub.published("note", number, **({"session": "lobby"} if group is SESSION else {"room": group}))
        self.published[group, result.epoch, result.seq] = number
        self.last[group] = max(self.last.get(group, ("", 0)), (result.epoch, result.seq))

    async def over(self) -> None:
        self._is_over.set()
        await self._task
        for group in (SESSION, ROOM):
            await self.publish(group)

    async def _go_on(self) -> None:
        while not self._is_over.is_set():
            groups = [self.rng.choice((SESSION, ROOM)) for _ in range(self.rng.choice((1, 1, 3, 12)))]
            await asyncio.gather(*map(self.publish, groups))
            await asyncio.sleep(self.rng.choice((0, 0.001, 0.003)))

    async def check(self, listeners: list[Listener], *, lost: int | None) -> None:
        """Wait until all have been shown the last of it, and hold what they were shown against what was published."""
        for listener in listeners:
            await listener.wait_for(self.last)
        assert [listener.faults for listener in listeners] == [[]] * len(listeners)
        for listener in listeners:
            assert listener.shown.items() <= self.published.items()
            if lost is not None:
                assert listener.lost == lost
                for group, seen in listener.seen.items():
                    places = sorted(place for place in self.published if place[0] == group)
                    everything = [self.published[place] for place in places]
                    assert seen == everything[len(everything) - len(seen) :]


@pytest.mark.chaos
@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_client_that_is_cut_under_load_shows_everything_once_in_order_or_says_what_is_lost(
    start_server, make_client, engine, limits, seed
):
    rng = random.Random(seed)
    server = await start_server(engine=engine, recovery=limits)

    async def cut(relay: Relay) -> None:
        for _ in range(6):
            await asyncio.sleep(rng.choice((0.002, 0.01, 0.02)))
            await relay.cut()
            await asyncio.sleep(rng.choice((0, 0.001, 0.01)))
            relay.mend()

    async with AsyncExitStack() as stack, asyncio.timeout(HANG_S):
        relays = [await stack.enter_async_context(Relay(server.url)) for _ in range(3)]
        listeners = []
        for relay in relays:
            client = make_client(relay.url, session_id="lobby", rooms=[ROOM], reconnect=AT_ONCE, inbox_limit=100_000)
            listeners.append(Listener(client))
            await client.connect()
        publishing = Publishing(rng, server)
        try:
            await asyncio.gather(*map(cut, relays))
        finally:
            await publishing.over()
        await publishing.check(listeners, lost=0 if limits is WIDE else None)

        assert sum(listener.replayed + listener.lost for listener in listeners) > 0
        kept = [message.data for message in await server.hub.history(room=ROOM, limit=publishing.number)]
        everything = [number for (group, _, _), number in publishing.published.items() if group == ROOM]
        assert kept == everything[-len(kept) :]


@pytest.mark.chaos
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("seed", range(max(1, SEEDS // 10)))
async def test_a_client_whose_greeting_is_cut_off_twice_in_a_row_comes_back_and_shows_everything_once(
    start_server, make_client, request, engine, servers, seed
):
    rng = random.Random(seed)
    broker = read_target(request.getfixturevalue("redis").url) if servers == 2 else None
    settings = {"engine": engine, "recovery": WIDE, "broker": broker, "broker_prefix": "t:"}
    running = [await start_server(**settings) for _ in range(servers)]
    ports = [urlsplit(server.url).port for server in running]
    relays = [FaultRelay(ports[0]) for _ in range(3)]
    listeners = []
    try:
        async with asyncio.timeout(HANG_S):
            for relay in relays:
                await relay.start()
                url = running[0].url.replace(str(ports[0]), str(relay.own_port))
                client = make_client(url, session_id="lobby", rooms=[ROOM], reconnect=AT_ONCE, inbox_limit=100_000)
                listeners.append(Listener(client))
                await client.connect()
            publishing = Publishing(rng, *running)
            for turn in range(1, 5):
                for relay in relays:
                    relay.port = rng.choice(ports)
                    relay.cuts = [rng.randrange(1, GREETS) for _ in range(2)]
                    relay.cut_all()
                for relay, listener in zip(relays, listeners, strict=True):
                    while relay.cuts or listener.resumed < turn:
                        await asyncio.sleep(0.001)
            await publishing.over()
            await publishing.check(listeners, lost=0)
    finally:
        for relay in relays:
            await relay.stop()

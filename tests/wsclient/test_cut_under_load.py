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

import pytest

from tests.relay import Relay
from wsclient import Client, GroupEvent, Lost, Opened, Received, ReconnectPolicy, Replayed
from wscore.recovery import RecoveryLimits

HANG_S = 20
SEEDS = max(3, int(os.environ.get("CHAOS_SEEDS", "100")) // 100)
AT_ONCE = ReconnectPolicy(base_ms=1, cap_ms=5)
SESSION, ROOM = None, "hall"  # as GroupEvent.room has it
WIDE = RecoveryLimits(messages=20_000, size=400_000, age_s=600)
NARROW = RecoveryLimits(messages=5)


class Listener:
    """What one client was shown, held against what was published, as it comes."""

    def __init__(self, client: Client, published: dict[tuple[str | None, str, int], int]) -> None:
        self.client = client
        self.published = published
        self.stands: dict[str | None, tuple[str, int]] = {}
        self.seen: dict[str | None, list[int]] = {SESSION: [], ROOM: []}
        self.lost = self.replayed = 0
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
        if self.published.get((group, epoch, came)) != number:
            self.faults.append(f"{group}: {number} was not published as {came} of {epoch}")
        self.stands[group] = epoch, came
        self.seen[group].append(number)

    async def wait_for(self, stands: dict[str | None, tuple[str, int]]) -> None:
        while self.stands != stands and not self.faults:
            self.came.clear()
            await self.came.wait()


@pytest.mark.chaos
@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_client_that_is_cut_under_load_shows_everything_once_in_order_or_says_what_is_lost(
    start_server, make_client, engine, limits, seed
):
    rng = random.Random(seed)
    server = await start_server(engine=engine, recovery=limits)
    published: dict[tuple[str | None, str, int], int] = {}
    last: dict[str | None, tuple[str, int]] = {}
    is_over = asyncio.Event()

    def publish(group: str | None) -> None:
        number = len(published)
        result = server.hub.publish("note", number, **({"session": "lobby"} if group is SESSION else {"room": group}))
        published[group, result.epoch, result.seq] = number
        last[group] = result.epoch, result.seq

    async def publish_on() -> None:
        while not is_over.is_set():
            for _ in range(rng.choice((1, 1, 3, 12))):
                publish(rng.choice((SESSION, ROOM)))
            await asyncio.sleep(rng.choice((0, 0.001, 0.003)))

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
            listeners.append(Listener(client, published))
            await client.connect()
        publishing = asyncio.create_task(publish_on())
        try:
            await asyncio.gather(*map(cut, relays))
        finally:
            is_over.set()
            await publishing
        for group in (SESSION, ROOM):
            publish(group)
        for listener in listeners:
            await listener.wait_for(last)

        assert [listener.faults for listener in listeners] == [[]] * len(listeners)
        assert sum(listener.replayed + listener.lost for listener in listeners) > 0
        kept = [message.data for message in await server.hub.history(room=ROOM, limit=len(published))]
        everything = [number for (group, _, _), number in published.items() if group == ROOM]
        assert kept == everything[-len(kept) :]
        if limits is WIDE:
            for listener in listeners:
                assert listener.lost == 0, "all of it was inside the window"
                for group, seen in listener.seen.items():
                    everything = [number for (of, _, _), number in published.items() if of == group]
                    assert seen == everything[len(everything) - len(seen) :]

"""Clients that are cut at random while others publish: on a real server the oracle of design section 4 holds."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from tests.wsserver.conftest import HANG_S
from wscore.counting import EventCounter, EventPlace
from wscore.recovery import Position, RecoveryLimits

# With sockets a seed takes a hundred times as long as in the model: `make chaos` takes 200 of them.
SEEDS = max(1, int(os.environ.get("CHAOS_SEEDS", "30")) // 100)
SESSION, ROOM = "lobby", "hall"
WIDE = RecoveryLimits(messages=5000)
NARROW = RecoveryLimits(messages=4)


class Truth:
    """What was published, by group, epoch and seq."""

    def __init__(self, hub) -> None:
        self._hub = hub
        self.published: dict[tuple[str, str, int], int] = {}
        self.last: dict[str, Position] = {}

    def publish(self, group: str, number: int) -> None:
        target = {"session": SESSION} if group == SESSION else {"room": ROOM}
        result = self._hub.publish("note", {"n": number, "x": "x" * (number % 7 * 300)}, **target)
        self.published[group, result.epoch, result.seq] = number
        self.last[group] = Position(result.epoch, result.seq)


class Wanderer:
    """A client that comes, reads a little, is cut, and comes again where it was."""

    def __init__(self, truth: Truth, token: str) -> None:
        self.truth = truth
        self.token = token
        self.counters = {SESSION: EventCounter(), ROOM: EventCounter()}
        self.seen: dict[str, list[int]] = {SESSION: [], ROOM: []}
        self.resume_token: str | None = None
        self.lost = self.resumed = 0
        self.client = None

    async def come(self, open_raw, url: str) -> None:
        held = self.counters[SESSION].position
        resume = {} if held is None else {"epoch": held.epoch, "seq": held.seq, "resume": self.resume_token}
        self.client = await open_raw(url, token=self.token, session=SESSION, resume=resume, greet=False)
        self.take(await self.client.receive())
        held = self.counters[ROOM].position
        await self.client.send("room.join", {"room": ROOM, "recovery": held and held._asdict()})

    async def read(self, count: int) -> None:
        for _ in range(count):
            self.take(await self.client.receive())

    async def read_to_the_end(self) -> None:
        while any(self.counters[group].position != stands for group, stands in self.truth.last.items()):
            self.take(await self.client.receive())

    def cut(self) -> None:
        self.client.ws.transport.abort()  # and what it has not read is lost

    def take(self, envelope: dict) -> None:
        kind, data = envelope["type"], envelope.get("data")
        if kind in ("session_created", "room.joined"):
            group = SESSION if kind == "session_created" else ROOM
            recovery = data["recovery"]
            self.resume_token = recovery.get("resumeToken", self.resume_token)
            counter = self.counters[group]
            had = counter.position
            recovered = recovery.get("recovered")
            assert (recovered is None) is (had is None), "who asks is answered, and nobody else"
            is_lost = counter.begin(Position(recovery["epoch"], recovery["seq"]), recovered)
            assert is_lost is (recovered is False), f"{group}: it goes on elsewhere than at {had}"
            self.lost += is_lost
            self.resumed += recovered is True
        elif kind == "note":
            group = ROOM if "room" in envelope else SESSION
            counter = self.counters[group]
            held = counter.position
            assert held is not None, f"{group}: an event before the greeting"
            assert counter.place(envelope["seq"]) is EventPlace.NEXT, f"{group}: {envelope['seq']} came after {held}"
            assert data["n"] == self.truth.published[group, held.epoch, envelope["seq"]]
            self.seen[group].append(data["n"])


@pytest.mark.chaos
@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_who_is_cut_under_load_has_everything_once_in_order_or_knows_that_it_has_not(
    start_server, open_raw, guest_token, engine, limits, seed
):
    rng = random.Random(seed)
    server = await start_server(engine=engine, recovery=limits)
    truth = Truth(server.hub)
    wanderers = [Wanderer(truth, guest_token()) for _ in range(4)]
    is_over = asyncio.Event()

    async def publish() -> None:
        number = 0
        while not is_over.is_set():
            for _ in range(rng.choice((1, 1, 3, 12))):
                number += 1
                truth.publish(rng.choice((SESSION, ROOM)), number)
            await asyncio.sleep(rng.choice((0, 0, 0.001, 0.003)))

    async def wander(wanderer: Wanderer) -> None:
        for _ in range(6):
            await wanderer.come(open_raw, server.url)
            await wanderer.read(rng.randrange(40))
            wanderer.cut()
            await asyncio.sleep(rng.choice((0, 0.001, 0.01)))

    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(4 * HANG_S):
        try:
            await asyncio.gather(*map(wander, wanderers))
        finally:
            is_over.set()
            await publishing
        for group in (SESSION, ROOM):
            truth.publish(group, -1)
        for wanderer in wanderers:
            await wanderer.come(open_raw, server.url)
            await wanderer.read_to_the_end()
            resumed, lost = wanderer.resumed, wanderer.lost
            wanderer.cut()
            await wanderer.come(open_raw, server.url)
            while wanderer.resumed + wanderer.lost < resumed + lost + len(wanderer.counters):
                wanderer.take(await wanderer.client.receive())
            assert wanderer.lost == lost, "nothing was published meanwhile"
    if limits is WIDE:
        for wanderer in wanderers:
            assert wanderer.lost == 0, "all of it was inside the window"
            for group, seen in wanderer.seen.items():
                everything = [number for (of, _, _), number in truth.published.items() if of == group]
                assert seen == everything[len(everything) - len(seen) :]

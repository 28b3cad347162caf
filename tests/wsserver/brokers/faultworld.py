"""Two servers, one real Redis, and clients that count: what is published under a fault is held against the oracle.

Per client, group and epoch, `seq` is contiguous or a `recovered: false` came first; the same place is the same message
at every client; what was acknowledged is in the store exactly once (design section 4).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.wsserver.conftest import HANG_S
from wscore.counting import EventCounter, EventPlace
from wscore.recovery import Position, RecoveryLimits
from wsserver.brokers.base import NotPublishedError
from wsserver.outbound.backlog import OutboundLimits

SESSION = "lobby"
PREFIX = "t:"
LOG = f"{PREFIX}{{s:{SESSION}}}:log"
META = f"{PREFIX}{{s:{SESSION}}}:meta"
CHANNEL = f"{PREFIX}{{s:{SESSION}}}"
KEPT = RecoveryLimits(messages=20_000, size=8 << 20)
ROOMY = OutboundLimits(per_connection=16 << 20)


class Reader:
    """A client that comes back, where it was, at any of the servers."""

    def __init__(self, world: FaultWorld, token: str) -> None:
        self.world = world
        self.token = token
        self.counter = EventCounter()
        self.resume_token = ""
        self.seen: dict[Position, object] = {}
        self.lost = self.resumed = self.refused = 0
        self.ws = None
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while not self.world.is_over:
            held = self.counter.position
            query = f"?token={self.token}&sessionId={SESSION}"
            if held is not None:
                query += f"&epoch={held.epoch}&seq={held.seq}&resume={self.resume_token}"
            url = self.world.rng.choice(self.world.urls)
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with connect(url + query, proxy=None, compression=None, ping_interval=None) as self.ws:
                    async for text in self.ws:
                        self.take(json.loads(text))
            self.ws = None
            await asyncio.sleep(0.02)

    def cut(self) -> None:
        if self.ws is not None:
            self.ws.transport.abort()  # and what it has not read is lost

    def take(self, envelope: dict) -> None:
        kind, data = envelope["type"], envelope.get("data")
        if kind in ("session_created", "recovery"):
            recovery = data["recovery"] if kind == "session_created" else data
            self.resume_token = recovery.get("resumeToken", self.resume_token)
            held = self.counter.position
            recovered = recovery.get("recovered")
            assert (recovered is None) is (held is None), "who asks is answered, and nobody else"
            is_lost = self.counter.begin(Position(recovery["epoch"], recovery["seq"]), recovered)
            assert is_lost is (recovered is False), f"it goes on elsewhere than at {held}"
            self.lost += is_lost
            self.resumed += recovered is True
        elif kind == "message" and "seq" in envelope:
            held = self.counter.position
            assert held is not None, "an event before the greeting"
            assert self.counter.place(envelope["seq"]) is EventPlace.NEXT, f"{envelope['seq']} came after {held}"
            self.seen[self.counter.position] = data["n"]
        elif kind == "error":
            self.refused += 1
        self.world.moved.set()


class FaultWorld:
    """Servers, their Redis, readers and publishers. `seed` decides what is random; a test's name tells it."""

    def __init__(self, servers, redis, token, seed: int = 0) -> None:
        self.servers = servers
        self.redis = redis
        self.rng = random.Random(seed)
        self.urls = [server.url for server in servers]
        self.moved = asyncio.Event()
        self.is_over = False
        self.number = 0
        self.acknowledged: dict[int, Position] = {}
        self.refused: dict[int, NotPublishedError] = {}
        self.readers = [Reader(self, token()) for _ in range(6)]
        self.publishers = []
        self._goes = asyncio.Event()

    async def publish(self, server) -> Position | None:
        """Publish one message; returns where it is stored, None if it is not or nobody knows."""
        self.number += 1
        number = self.number
        try:
            result = await server.hub.published("message", {"n": number, "x": "x" * (number % 5 * 30)}, session=SESSION)
        except NotPublishedError as error:
            self.refused[number] = error
            return None
        finally:
            self.moved.set()
        if not result.epoch:
            return None
        position = Position(result.epoch, result.seq)
        self.acknowledged[number] = position
        return position

    async def load(self, server) -> None:
        """Publish until it is over, some messages in each turn, never waiting for more than 200 answers."""
        under_way: set[asyncio.Task] = set()
        while self._goes.is_set():
            for _ in range(self.rng.choice((1, 1, 3, 8))):
                task = asyncio.create_task(self.publish(server))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(self.rng.choice((0.001, 0.003, 0.01)))
            while len(under_way) > 200 and self._goes.is_set():
                self.moved.clear()
                await self.moved.wait()
        if under_way:
            await asyncio.wait(under_way)

    async def begin(self) -> None:
        """Begin to publish at every server, and wait until all readers have read some of it."""
        async with asyncio.timeout(HANG_S):
            await self.until(lambda: all(reader.counter.position for reader in self.readers))
            self._goes.set()
            self.publishers = [asyncio.create_task(self.load(server)) for server in self.servers]
            await self.until(lambda: all(len(reader.seen) > 20 for reader in self.readers))

    async def until(self, is_so) -> None:
        """Wait for what readers and publishers make true."""
        while not is_so():
            self.moved.clear()
            for reader in self.readers:
                if reader.task.done():
                    reader.task.result()
            await self.moved.wait()

    async def more(self, count: int = 50) -> None:
        """Wait until so many more messages are acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(2 * HANG_S):
            await self.until(lambda: len(self.acknowledged) >= goal)

    async def away(self) -> None:
        """Wait until a server says that it does not reach Redis."""
        async with asyncio.timeout(HANG_S):
            while all(server.is_ready for server in self.servers):
                await asyncio.sleep(0.005)

    async def settle(self, is_whole: bool = True) -> None:
        """End the load, wait until all is healed and everybody has read everything, and apply the oracle.

        `is_whole`: nobody has deleted anything of what the store should keep.
        """
        async with asyncio.timeout(3 * HANG_S):
            self._goes.clear()
            self.moved.set()
            await asyncio.gather(*self.publishers)
            while not all(server.is_ready for server in self.servers):
                await asyncio.sleep(0.01)
            while (end := await self.publish(self.servers[0])) is None:
                await asyncio.sleep(0.05)
            await self.until(lambda: all(reader.counter.position == end for reader in self.readers))
        self.is_over = True
        for reader in self.readers:
            if reader.ws is not None:
                await reader.ws.close()
            await reader.task
        self.check(end, is_whole)

    def check(self, end: Position, is_whole: bool) -> None:
        """Hold what was read, acknowledged and stored against each other."""
        stored = self.stored()
        for n, position in self.acknowledged.items():
            if position.epoch == end.epoch and (is_whole or position.seq in stored):
                assert stored.get(position.seq) == n, f"{position} was acknowledged and is not stored"
        numbers = list(stored.values())
        assert len(numbers) == len(set(numbers)), "it is stored twice"
        truth: dict[Position, object] = {position: n for n, position in self.acknowledged.items()}
        assert len(truth) == len(self.acknowledged), "two messages at one place"
        for reader in self.readers:
            for position, n in reader.seen.items():
                assert truth.setdefault(position, n) == n, f"{position} is another message elsewhere"
        for n, error in self.refused.items():
            assert error.answer.is_unknown or n not in truth.values(), "it was said to be lost, and came"

    def stored(self) -> dict[int, object]:
        """Return what the store keeps of the session, by seq."""
        with self.redis.client as client:
            entries = client.xrange(LOG)
        return {
            int(entry.partition(b"-")[0]): int(re.search(rb'"n":(\d+)', fields[b"m"])[1]) for entry, fields in entries
        }

    @property
    def lost(self) -> int:
        """How often a reader was told that history is lost."""
        return sum(reader.lost for reader in self.readers)

"""Servers, a real Redis, and clients that count: what is published under a fault is held against the oracle.

Per client, group and epoch, `seq` is contiguous or a `recovered: false` came first; the same place is the same message
at every client; what was acknowledged is in the store exactly once, and was seen or told as lost (design section 4).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.wsserver.conftest import HANG_S
from wscore.counting import EventCounter, EventPlace
from wscore.envelope import MAX_SAFE_INTEGER
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
        self.first: Position | None = None
        self.missed: list[tuple[Position, Position]] = []  # where it stood, and where it was told to go on
        self.resumed = self.refused = 0
        self.relay = None  # on its way to any of the servers
        self.ws = None
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while not self.world.is_over:
            held = self.counter.position
            query = f"?token={self.token}&sessionId={SESSION}"
            if held is not None:
                query += f"&epoch={held.epoch}&seq={held.seq}&resume={self.resume_token}"
            url = self.way()
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with connect(url + query, proxy=None, compression=None, ping_interval=None) as self.ws:
                    async for text in self.ws:
                        self.take(json.loads(text))
            self.ws = None
            await asyncio.sleep(0.02)

    def way(self) -> str:
        url = self.world.rng.choice(self.world.urls)
        if self.relay is None:
            return url
        parts = urlsplit(url)
        self.relay.port = parts.port
        return urlunsplit(parts._replace(netloc=f"127.0.0.1:{self.relay.own_port}"))

    @property
    def lost(self) -> int:
        """How often it was told that something is lost."""
        return len(self.missed)

    def cut(self) -> None:
        if self.ws is not None:
            self.ws.transport.abort()  # and what it has not read is lost

    def told(self) -> dict[str, list[range]]:
        """Return, for each epoch that it was in, which events it knows that it has not."""
        told = {self.first.epoch: [range(self.first.seq + 1)]}
        for held, now in self.missed:
            if held.epoch == now.epoch:
                told[now.epoch].append(range(held.seq + 1, now.seq + 1))
            else:
                told[held.epoch].append(range(held.seq + 1, MAX_SAFE_INTEGER))
                told.setdefault(now.epoch, []).append(range(now.seq + 1))
        return told

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
            now = self.counter.position
            if held is None:
                self.first = now
            elif is_lost:
                assert now.epoch != held.epoch or now.seq > held.seq, f"it is told at {held} of a loss that is none"
                self.missed.append((held, now))
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
        """`redis` is None where one server keeps all of it in memory."""
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

    async def settle(self, lacks: int | None = 0) -> None:
        """End the load, wait until all is healed and everybody has read everything, and apply the oracle.

        `lacks`: up to which seq somebody has deleted what the store should keep, None where only that is known.
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
        self.check(end, lacks, await self.stored(end))

    def check(self, end: Position, lacks: int | None, stored: dict[int, object]) -> None:
        """Hold what was read, acknowledged and stored against each other."""
        if lacks is None or end.seq > KEPT.messages:
            lacks = min(stored) - 1
        assert list(stored) == list(range(lacks + 1, end.seq + 1)), "the store has not what it should have"
        for n, position in self.acknowledged.items():
            if position.epoch == end.epoch and position.seq > lacks:
                assert stored[position.seq] == n, f"{position} was acknowledged and is not stored"
        numbers = list(stored.values())
        assert len(numbers) == len(set(numbers)), "it is stored twice"
        truth: dict[Position, object] = {position: n for n, position in self.acknowledged.items()}
        assert len(truth) == len(self.acknowledged), "two messages at one place"
        for reader in self.readers:
            for position, n in reader.seen.items():
                assert truth.setdefault(position, n) == n, f"{position} is another message elsewhere"
            told = reader.told()
            for position in self.acknowledged.values():
                if position.epoch in told and position not in reader.seen:
                    is_told = any(position.seq in those for those in told[position.epoch])
                    assert is_told, f"{position} was missed without a word"
        for n, error in self.refused.items():
            assert error.answer.is_unknown or n not in truth.values(), "it was said to be lost, and came"

    async def stored(self, end: Position) -> dict[int, object]:
        """Return what the store keeps of the session, by seq."""
        if self.redis is None:
            kept = await self.servers[0].hub.history(session=SESSION, limit=KEPT.messages)
            return {seq: message.data["n"] for seq, message in enumerate(kept, end.seq - len(kept) + 1)}
        with self.redis.client as client:
            entries = client.xrange(LOG)
        return {
            int(entry.partition(b"-")[0]): int(re.search(rb'"n":(\d+)', fields[b"m"])[1]) for entry, fields in entries
        }

    @property
    def lost(self) -> int:
        """How often a reader was told that history is lost."""
        return sum(reader.lost for reader in self.readers)

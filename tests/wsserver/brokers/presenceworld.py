"""Several processes with members of the same rooms, and a Redis between them that delays, drops and cuts.

The rooms, their presence and the groups are the server's own; only the network and the time are a test's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from tests.wsserver.roomhouse import House
from wscore.recovery import Position, RecoveryLimits
from wscore.rooms import RoomAccess
from wsserver.brokers.base import ROOM, GroupKind
from wsserver.brokers.memory import MemoryBroker
from wsserver.brokers.redisgroups import RedisGroups
from wsserver.brokers.redispeers import RedisPeers
from wsserver.connections.state import Connection
from wsserver.lifetime.sharedpresence import SharedPresence
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

NO_RECOVERY = RecoveryLimits(messages=0)
STEP_S = 0.5  # of the time, between two looks at what is due


class Redis:
    """Knows who is subscribed to what; `drops` says of a note whether it is lost on its way to a process."""

    def __init__(self) -> None:
        self.subscribers: dict[str, dict[str, Process]] = {}

    def publish(self, channel: str, payload: bytes) -> int:
        reached = self.subscribers.get(channel, {})
        for process in reached.values():
            process.feed.append((channel, payload))
        return len(reached)

    def forget(self, process: Process) -> None:
        for reached in self.subscribers.values():
            reached.pop(process.name, None)


class Backplane:
    """A process's two connections: what it sends, and what it is subscribed to. Each keeps its order."""

    def __init__(self, process: Process, redis: Redis) -> None:
        self.producer = process.name
        self.process = process
        self.redis = redis
        self.calls: deque[tuple[str, bytes, Callable[[object], None]]] = deque()
        self.replies: deque[tuple[Callable[[object], None], int]] = deque()
        self.commands: deque[tuple[str, str]] = deque()
        self.channels: dict[str, None] = {}
        self.calls_up = self.feed_up = True
        self.is_subscribed = False

    @property
    def is_up(self) -> bool:
        return self.calls_up and self.is_subscribed

    def send(self, channel: str, payload: bytes, on_reply: Callable[[object], None]) -> bool:
        if self.calls_up:
            self.calls.append((channel, payload, on_reply))
        return self.calls_up

    def subscribe(self, channel: str) -> None:
        self.channels[channel] = None
        if self.feed_up:
            self.commands.append(("subscribe", channel))

    def unsubscribe(self, channel: str) -> None:
        if self.channels.pop(channel, False) is None and self.feed_up:
            self.commands.append(("unsubscribe", channel))

    def pass_on(self, *, is_lost: bool = False) -> None:
        """Have Redis do the next call and the next command."""
        if self.calls:
            channel, payload, on_reply = self.calls.popleft()
            self.replies.append((on_reply, 0 if is_lost else self.redis.publish(channel, payload)))
        if self.commands:
            what, channel = self.commands.popleft()
            reached = self.redis.subscribers.setdefault(channel, {})
            if what == "subscribe":
                reached[self.producer] = self.process
                self.process.feed.append((channel, None))
            else:
                reached.pop(self.producer, None)

    def take_reply(self) -> None:
        if self.replies:
            on_reply, reply = self.replies.popleft()
            on_reply(reply)

    def cut_calls(self) -> None:
        self.calls.clear()
        self.replies.clear()
        self.calls_up = False
        self.process.changed()

    def cut_feed(self) -> None:
        self.commands.clear()
        self.process.feed.clear()
        self.redis.forget(self.process)
        self.feed_up = self.is_subscribed = False
        self.process.changed()

    def heal(self) -> None:
        if not self.calls_up:
            self.calls_up = True
            if self.is_subscribed:
                self.process.changed()
        if not self.feed_up:
            self.feed_up = True
            self.commands.extend(("subscribe", channel) for channel in self.channels)


class PeerBroker(MemoryBroker):
    """The part of a Redis broker that presence needs."""

    is_shared = True

    def __init__(self, process: Process, redis: Redis) -> None:
        super().__init__()
        self.process = process.name  # type: ignore[misc]
        self.backplane = Backplane(process, redis)
        self.groups = RedisGroups("", NO_RECOVERY, lambda: process.house.now_s, Metrics(), EventLog())
        self.groups.attach(self.backplane, lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
        self.peers = RedisPeers("", self.backplane, self.groups)  # type: ignore[arg-type]

    @property
    def is_up(self) -> bool:  # type: ignore[override]
        return self.backplane.is_up

    def attach_peers(self, peers) -> None:
        self.peers.attach(peers)

    def tell(self, note, *, room=None, process=None, reached=None) -> bool:
        return self.peers.tell(note, room, process, reached)

    def subscribe(self, kind: GroupKind, name: str) -> None:
        if kind == ROOM:
            self.groups.subscribe(kind, name)

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        if kind == ROOM:
            self.groups.unsubscribe(kind, name)

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        await self.groups.ready(kind, name, asked)

    def check(self) -> None:
        self.groups.check()
        self.peers.check()


class Process:
    """One server."""

    def __init__(self, name: str, redis: Redis, now_s: float) -> None:
        self.name = name
        self.feed: deque[tuple[str, bytes | None]] = deque()
        self.is_stopped = False
        self.broker = PeerBroker(self, redis)
        self.backplane = self.broker.backplane
        self.house = House(broker=self.broker)
        self.house.now_s = now_s
        house = self.house
        self.shared = SharedPresence(
            self.broker,  # type: ignore[arg-type]
            house.watch,
            house.metrics,
            call_later=house.call_later,
            now_s=lambda: house.now_s,
            free=lambda: house.rooms.free,
        )
        self.joining: set[asyncio.Task[None]] = set()
        for channel in self.broker.groups.others:
            self.backplane.subscribe(channel)

    @property
    def is_busy(self) -> bool:
        """Whether anything is on its way to it, or from it."""
        backplane = self.backplane
        is_moving = backplane.calls or backplane.replies or backplane.commands or self.feed
        return bool(is_moving) and not self.is_stopped

    def changed(self) -> None:
        self.broker.groups.changed()
        self.broker.peers.changed()

    def read(self) -> None:
        """Take the next that a subscription brought."""
        if not self.feed:
            return
        channel, note = self.feed.popleft()
        if not self.backplane.is_subscribed:
            self.backplane.is_subscribed = True
            self.changed()
        if channel in self.backplane.channels:
            if note is None:
                self.broker.groups.subscribed(channel)
            else:
                self.broker.groups.pushed(channel, note)

    def pass_time(self, now_s: float) -> None:
        if not self.is_stopped:
            self.house.pass_time(now_s - self.house.now_s)
            self.broker.check()

    def go_on(self, now_s: float) -> None:
        """Wake up: what came due meanwhile comes now."""
        self.is_stopped = False
        self.house.now_s = now_s
        self.pass_time(now_s)


class Member:
    """A connection, and whom it knows to be in its room, from what it was told so far."""

    def __init__(self, process: Process, user: str, room: str, *, watches: bool) -> None:
        self.process, self.user, self.room, self.watches = process, user, room, watches
        self.connection: Connection = process.house.connect(user)
        self.since_s = process.house.now_s
        self.known: set[str] | None = None
        self.left: list[str] = []
        task = asyncio.get_running_loop().create_task(self._join())
        process.joining.add(task)
        task.add_done_callback(process.joining.discard)

    @property
    def is_in(self) -> bool:
        house = self.process.house
        return house.rooms.access(self.connection.id, self.room) is not RoomAccess.NONE

    async def _join(self) -> None:
        house = self.process.house
        with suppress(TimeoutError):  # then it is told, and tries it again
            await self.process.broker.ready(ROOM, self.room)
            if self.watches:
                await house.rooms.ready_to_watch(self.room)
            if self.connection.is_open:
                house.rooms.join(self.connection, self.room, RoomAccess.PUBLISH, presence=self.watches)

    async def look(self) -> None:
        """Ask who is there, as a member may at any time."""
        house = self.process.house
        with suppress(TimeoutError):
            await house.rooms.ready_to_watch(self.room)
            if self.connection.is_open and self.is_in:
                house.rooms.confirm(self.connection, self.room, presence=True)
                self.watches = True

    def read(self) -> None:
        """Read what came, and hold it against what is known."""
        written, self.connection.channel.written = self.connection.channel.written, []
        for envelope in written:
            data = envelope["data"]
            if envelope["type"] == "room.joined" and "members" in data:
                self.known = set(data["members"])
                assert len(data["members"]) == len(self.known) == data["memberCount"]
            elif envelope["type"] == "presence":
                assert self.known is not None
                joined, left = set(data["joined"]), set(data["left"])
                assert not joined & self.known, f"{self.user} is told twice that {joined & self.known} came"
                assert left <= self.known, f"{self.user} is told that {left - self.known} left, who was not there"
                self.known = (self.known | joined) - left
                self.left += left
                assert len(self.known) == data["count"], "the count is not that of the list"
                assert set(data.get("members", self.known)) == self.known, "all members are not who is known"


class World:
    """All of it, and its time."""

    def __init__(self, seed: int, processes: int = 3) -> None:
        self.rng = random.Random(seed)
        self.redis = Redis()
        self.now_s = 100.0
        self.numbers = count(1)
        self.processes: list[Process] = []
        self.members: list[Member] = []
        for _ in range(processes):
            self.start()

    def start(self) -> Process:
        process = Process(f"p{next(self.numbers)}", self.redis, self.now_s)
        self.processes.append(process)
        return process

    def join(self, process: Process, user: str, room: str, *, watches: bool) -> Member:
        member = Member(process, user, room, watches=watches)
        self.members.append(member)
        return member

    def lose(self, member: Member) -> None:
        member.read()
        member.process.house.lose(member.connection)
        self.members.remove(member)

    def leave(self, member: Member) -> None:
        member.process.house.rooms.leave(member.connection, member.room)
        self.lose(member)

    def of(self, process: Process) -> list[Member]:
        return [member for member in self.members if member.process is process]

    def end(self, process: Process) -> list[Member]:
        """Drain a process and have it say goodbye; returns who was there."""
        there = self.of(process)
        for member in there:
            self.lose(member)
        process.broker.peers.leave()
        while process.backplane.calls:
            process.backplane.pass_on()
        self.kill(process)
        return there

    def kill(self, process: Process) -> list[Member]:
        there = self.of(process)
        for member in there:
            self.members.remove(member)
        for task in process.joining:
            task.cancel()
        self.redis.forget(process)
        self.processes.remove(process)
        return there

    def trickle(self) -> None:
        """Have one thing move on its way."""
        busy = [process for process in self.processes if process.is_busy]
        if busy:
            process = self.rng.choice(busy)
            self.rng.choice((process.backplane.pass_on, process.backplane.take_reply, process.read))()

    def drop(self) -> None:
        """Have something that a process says reach nobody."""
        saying = [process for process in self.processes if process.backplane.calls]
        if saying:
            self.rng.choice(saying).backplane.pass_on(is_lost=True)

    async def flush(self) -> None:
        """Have everything arrive that is on its way."""
        is_moving = True
        while is_moving:
            is_moving = False
            for process in self.processes:
                while process.is_busy:
                    is_moving = True
                    process.backplane.pass_on()
                    process.backplane.take_reply()
                    process.read()
            for _ in range(6):
                await asyncio.sleep(0)

    def pass_time(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(self.now_s + STEP_S, end_s)
            for process in self.processes:
                process.pass_time(self.now_s)

    async def calm(self, seconds: float) -> None:
        """Have time go on, with nothing late."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            await self.flush()
            self.pass_time(STEP_S / 2)
        await self.flush()

    def read(self) -> None:
        for member in self.members:
            member.read()

    def there(self, room: str) -> set[str]:
        return {member.user for member in self.members if member.room == room and member.is_in}

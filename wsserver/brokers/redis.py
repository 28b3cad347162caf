"""The broker of several processes: groups live in a Redis, and everybody delivers from its subscription (section 8).

What is published in one turn of the event loop is one batch a group. It comes back over the subscription, to the
publisher too, so the order is the same everywhere. A group is taken in once it is level with the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from wscore.envelope import with_seq
from wscore.errors import ConfigError
from wscore.recovery import Position, RecoveryLimits
from wscore.revocations import RevokedEntry
from wsserver.brokers.base import (
    ORDERS,
    ROOM,
    BrokerRefusedError,
    BrokerUnreachableError,
    Deliver,
    GroupKind,
    KeptEvent,
    Lost,
    NotPublished,
    NotPublishedError,
    Peers,
    RoomTold,
    TakeOrder,
    Topic,
    Unpublished,
)
from wsserver.brokers.places import BrokerLists
from wsserver.brokers.redisbackplane import RedisBackplane, StoreLimits
from wsserver.brokers.redisgroups import RESYNC_S, RedisGroups
from wsserver.brokers.redislists import RedisLists
from wsserver.brokers.redisoccupied import RedisOccupied
from wsserver.brokers.redisorders import RedisOrders
from wsserver.brokers.redispeers import RedisPeers
from wsserver.brokers.redispublishing import RedisPublishing
from wsserver.brokers.redisrevoked import RedisRevoked
from wsserver.brokers.redisshared import RedisShared
from wsserver.brokers.redistarget import RedisTarget
from wsserver.brokers.revoked import RevokedHere, TakeRevoked
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics, Missed

LEAVE_S: Final = 0.5  # for what the others are told last, however little time there is
START_S: Final = 10.0  # how long a server waits for Redis at its start


class RedisBroker(RedisPublishing):
    """Publishes through Redis. `start` it on the event loop; `check` it about once a second.

    `process` is a name that no other process has.
    """

    is_shared = True

    def __init__(
        self,
        target: RedisTarget,
        prefix: str,
        limits: RecoveryLimits,
        *,
        process: str,
        lists: BrokerLists,
        now_s: Callable[[], float],
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._target = target
        self._prefix = prefix
        self._limits = limits
        self.place = str(target)
        missed = {reason: metrics.broker_missed.know((self.place, reason)) for reason in Missed}
        groups = RedisGroups(prefix, limits, now_s, missed, log)
        super().__init__(groups, missed)
        self._up = asyncio.Event()
        self._refusal: asyncio.Future[str] = self._loop.create_future()
        self._backplane = RedisBackplane(
            target,
            prefix,
            process,
            StoreLimits(limits.messages, limits.size, max(60, int(2 * max(limits.age_s, RESYNC_S)) + 20)),
            on_batch=groups.pushed,
            on_subscribed=groups.subscribed,
            on_change=self._changed,
            on_refused=self._refused,
            now_s=now_s,
            metrics=metrics,
            log=log,
        )
        self.process = process
        self._orders = RedisOrders(prefix, self._backplane, groups.others)
        self._revoked = RedisRevoked(self._backplane, prefix, log)
        self._shared = RedisShared(self._backplane, prefix)
        self._occupied = RedisOccupied(self._backplane, prefix, now_s)
        self._peers = RedisPeers(prefix, self._backplane, groups)
        self._lists = RedisLists(lists, self.place, self._backplane, groups, prefix, now_s)

    @property
    def size(self) -> int:
        """What is kept here for recovery, in bytes."""
        return self._groups.histories.size

    @property
    def evicted(self) -> int:
        """How many events were let go of here since there was no room for more; the store may have them."""
        return self._groups.histories.evicted

    @property
    def waiting(self) -> int:
        """What Redis has not stored yet, in bytes."""
        return self._backplane.waiting

    @property
    def is_up(self) -> bool:
        """Whether Redis is reached, and says what is revoked."""
        return self._backplane.is_up and self._revoked.is_level

    @property
    def problem(self) -> str:
        """Whether Redis is not reached, or other processes have other ones."""
        return self._lists.problem if self.is_up else "the broker is not reached"

    def reaches(self, kind: GroupKind, name: str) -> bool:
        """Whether Redis is reached."""
        return self.is_up

    def attach(self, deliver: Deliver, lost: Lost, unpublished: Unpublished) -> None:
        """Name what takes the messages, what is told that history was lost, and what answers who could not publish."""
        self._groups.attach(self._backplane, deliver, lost)
        self._unpublished = unpublished

    def attach_orders(self, take: TakeOrder, topic: Topic = ORDERS) -> None:
        """Name what takes the orders of other processes."""
        self._orders.attach(take, topic)

    def order(self, packed: bytes, process: str | None = None, *, topic: Topic = ORDERS) -> bool:
        """Hand an order to all other processes, or to one; False while Redis is away."""
        return self._orders.order(packed, process, topic)

    def attach_revoked(self, take: TakeRevoked, here: RevokedHere) -> None:
        """Name what takes what others revoke, and what knows all that is revoked here."""
        self._revoked.attach(take, here)

    async def revoke(self, entry: RevokedEntry) -> None:
        """Put it into the store, which every process asks what is new; raises NotRevokedError."""
        await self._revoked.revoke(entry)

    def attach_peers(self, peers: Peers) -> None:
        """Name what is told of the rooms of other processes."""
        self._peers.attach(peers)

    def attach_occupied(self, tell: RoomTold) -> None:
        """Name what is told of rooms, of all processes in the one that the store chooses."""
        self._occupied.attach(tell)

    async def occupied_told(self) -> None:
        """Wait until the store has everything that has changed here."""
        await self._occupied.level()

    def tell(
        self,
        note: bytes,
        *,
        room: str | None = None,
        process: str | None = None,
        reached: Callable[[int], None] | None = None,
    ) -> bool:
        """Say something to who is subscribed to a room, to one process or to all; False while Redis is away."""
        return self._peers.tell(note, room, process, reached)

    async def start(self) -> None:
        """Dial, and wait until both connections are up and all is known that is revoked.

        Raises BrokerUnreachableError; BrokerRefusedError at once if it does not let us in; ConfigError where processes
        have another list of brokers.
        """
        for channel in self._groups.others:
            self._backplane.subscribe(channel)
        self._backplane.start()
        self._revoked.start()
        beginning = self._loop.create_task(self._begin())
        try:
            async with asyncio.timeout(START_S):
                await asyncio.wait((beginning, self._refusal), return_when=asyncio.FIRST_COMPLETED)
                if not beginning.done():
                    raise BrokerRefusedError(str(self._target), self._refusal.result())
                await beginning
        except (TimeoutError, ConfigError, BrokerRefusedError) as error:
            self._revoked.stop()
            await self._backplane.stop(0)
            if not isinstance(error, TimeoutError):
                raise
            problem = self._backplane.problem or f"no answer within {START_S:g} s"
            raise BrokerUnreachableError(str(self._target), problem) from None
        finally:
            beginning.cancel()

    async def _begin(self) -> None:
        await self._up.wait()
        await self._revoked.level()
        await self._lists.begin()

    async def share(self, name: str, value: bytes, take: Callable[[bytes], None]) -> None:
        """Agree on a value with the other processes; raises BrokerUnreachableError."""
        try:
            async with asyncio.timeout(START_S):
                await self._shared.agree(name, value, take)
        except TimeoutError:
            raise BrokerUnreachableError(str(self._target), "it does not answer") from None

    async def stop(self, within_s: float) -> None:
        """Let what is on its way arrive, and hang up."""
        self._flush()
        self._revoked.stop()
        self._peers.leave()
        self._lists.leave()
        await self._backplane.stop(max(within_s, LEAVE_S))

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Have a group's messages delivered here."""
        self._groups.subscribe(kind, name)
        if kind is ROOM:
            self._occupied.note(name, True)

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Have them delivered no more."""
        self._groups.unsubscribe(kind, name)
        if kind is ROOM:
            self._occupied.note(name, False)

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        """Wait until a group is level with the store, and has at hand what it keeps behind a position."""
        await self._groups.ready(kind, name, asked)

    def position(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands that is level with the store."""
        return self._groups.position(kind, name)

    def since(
        self, kind: GroupKind, name: str, asked: Position | None, client: str | None = None
    ) -> Sequence[KeptEvent] | None:
        """Return the events behind a position, if all of them are here, or were made ready."""
        return self._groups.since(kind, name, asked, client)

    async def history(self, kind: GroupKind, name: str, limit: int, before: int | None = None) -> Sequence[bytes]:
        """Return the newest events that the store keeps of a group, the oldest first; raises NotPublishedError."""
        if kind not in self._counted or limit <= 0:
            return ()
        keys = self._groups.keys(kind, name)
        position = await self._groups.ask(keys, -1)
        end = position[0].seq if before is None else min(before - 1, position[0].seq)
        start = max(0, position[0].seq - self._limits.messages, end - limit)
        (_, items) = await self._groups.ask(keys, start)
        events = [with_seq(item.payload, seq) for seq, item in enumerate(items, start + 1) if seq <= end]
        return events[-limit:]

    async def forget(self, kind: GroupKind, name: str) -> None:
        """Have the store keep nothing of a group; who is in it learns that from the next message, or within 40 s."""
        future: asyncio.Future[None] = self._loop.create_future()

        def deleted() -> None:
            if not future.done():
                future.set_result(None)

        if not self._backplane.delete(self._groups.keys(kind, name), deleted):
            raise NotPublishedError(NotPublished("the broker is not reached", is_unknown=False))
        try:
            async with asyncio.timeout(START_S):
                await future
        except TimeoutError:
            raise NotPublishedError(NotPublished("the broker does not answer", is_unknown=True)) from None

    def check(self) -> None:
        """Look after connections and groups, and let go of what is too old."""
        self._backplane.check()
        self._shared.look()
        self._groups.check()
        self._peers.check()
        self._occupied.check()
        self._lists.check()

    def _changed(self) -> None:
        if self._backplane.is_up:
            self._up.set()
        self._groups.changed()
        self._revoked.changed()
        self._shared.look()
        self._peers.changed()
        self._occupied.connection_changed()
        self._lists.connection_changed()

    def _refused(self, problem: str) -> None:
        """End the wait for a start: a password does not become right while one waits."""
        if not self._refusal.done():
            self._refusal.set_result(problem)

"""Several Redis for one server: each group lives in one of them, which its name alone decides (design section 8).

What concerns no group goes another way: a revocation is kept by all of them, an order takes the first that is up, and
what is said to every process is said over all, so that one Redis that is away cuts no process off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from wscore.recovery import Position
from wscore.revocations import RevokedEntry
from wsserver.brokers.base import (
    ORDERS,
    ROOM,
    Deliver,
    GroupKind,
    KeptEvent,
    Lost,
    Peers,
    PublishResult,
    RoomTold,
    TakeOrder,
    Topic,
    Unpublished,
)
from wsserver.brokers.places import place_of
from wsserver.brokers.redis import RedisBroker
from wsserver.brokers.revoked import NotRevokedError, RevokedHere, TakeRevoked

KNOWN_GROUPS: Final = 16_384  # whose place need not be worked out again


class _OfOneBroker:
    """What a single broker tells of rooms; what is due once a process is done once, not once a broker."""

    def __init__(self, peers: Peers) -> None:
        self.take = peers.take
        self.entered = peers.entered
        self.resubscribed = peers.resubscribed
        self.unsubscribed = peers.unsubscribed
        self.reached = peers.reached
        self.holds = peers.holds

    def check(self) -> None:
        """Do nothing: it is done for all of them."""

    def leave(self) -> None:
        """Do nothing: it is said over all of them."""


class ShardedBroker:
    """Publishes through the one of several brokers to which a group belongs.

    They have one name of the process, and each other ones of their places.
    """

    is_shared = True

    def __init__(self, brokers: Sequence[RedisBroker]) -> None:
        self._brokers = brokers
        self._in_order = sorted(brokers, key=lambda broker: broker.place)  # the same in every process
        self._peers: Peers | None = None
        self.process = brokers[0].process
        places = [broker.place for broker in brokers]

        @lru_cache(KNOWN_GROUPS)
        def find(kind: GroupKind, name: str) -> RedisBroker:
            return brokers[place_of(kind, name, places)]

        self._of = find

    @property
    def size(self) -> int:
        """What is kept here for recovery, in bytes."""
        return sum(broker.size for broker in self._brokers)

    @property
    def waiting(self) -> int:
        """What is published and not stored yet, in bytes."""
        return sum(broker.waiting for broker in self._brokers)

    @property
    def evicted(self) -> int:
        """How many events were let go of here since there was no room for more; the stores may have them."""
        return sum(broker.evicted for broker in self._brokers)

    @property
    def is_up(self) -> bool:
        """Whether every Redis is reached."""
        return all(broker.is_up for broker in self._brokers)

    @property
    def problem(self) -> str:
        """Which of them are not reached, by their numbers as they were given, or that other processes have others."""
        away = [str(number) for number, broker in enumerate(self._brokers, 1) if not broker.is_up]
        if away:
            return f"not reached: broker {', '.join(away)} of {len(self._brokers)}"
        return self._brokers[0].problem

    def reaches(self, kind: GroupKind, name: str) -> bool:
        """Whether the Redis of a group is reached."""
        return self._of(kind, name).reaches(kind, name)

    def attach(self, deliver: Deliver, lost: Lost, unpublished: Unpublished) -> None:
        """Name what takes the messages, what is told that history was lost, and what answers who could not publish."""
        for broker in self._brokers:
            broker.attach(deliver, lost, unpublished)

    def attach_orders(self, take: TakeOrder, topic: Topic = ORDERS) -> None:
        """Name what takes the orders of other processes, whichever way they come."""
        for broker in self._brokers:
            broker.attach_orders(take, topic)

    def order(self, packed: bytes, process: str | None = None, *, topic: Topic = ORDERS) -> bool:
        """Hand an order on over the first Redis that is up, the same everywhere; False while none is."""
        return any(broker.order(packed, process, topic=topic) for broker in self._in_order)

    def attach_revoked(self, take: TakeRevoked, here: RevokedHere) -> None:
        """Name what takes what others revoke, and what knows all that is revoked here."""
        for broker in self._brokers:
            broker.attach_revoked(take, here)

    async def revoke(self, entry: RevokedEntry) -> None:
        """Put it into every store, as each process asks all of them; raises NotRevokedError if none has it.

        One that is away gets it once it is back, from any process.
        """
        outcomes = await asyncio.gather(*(broker.revoke(entry) for broker in self._brokers), return_exceptions=True)
        errors = [outcome for outcome in outcomes if outcome is not None]
        for error in errors:
            if not isinstance(error, NotRevokedError):
                raise error
        if len(errors) == len(self._brokers):
            raise next((error for error in errors if getattr(error, "is_unknown", False)), errors[0])

    def attach_peers(self, peers: Peers) -> None:
        """Name what is told of the rooms of other processes."""
        self._peers = peers
        for broker in self._brokers:
            broker.attach_peers(_OfOneBroker(peers))

    def attach_occupied(self, tell: RoomTold) -> None:
        """Name what is told of rooms; the Redis of a room decides in which process."""
        for broker in self._brokers:
            broker.attach_occupied(tell)

    async def occupied_told(self) -> None:
        """Wait until the stores have everything that has changed here."""
        await asyncio.gather(*(broker.occupied_told() for broker in self._brokers))

    def tell(
        self,
        note: bytes,
        *,
        room: str | None = None,
        process: str | None = None,
        reached: Callable[[int], None] | None = None,
    ) -> bool:
        """Say what concerns a room over its Redis, anything else over all of them."""
        if room is not None:
            return self._of(ROOM, room).tell(note, room=room, process=process, reached=reached)
        told = [broker.tell(note, process=process, reached=reached) for broker in self._brokers]
        return any(told)

    async def start(self) -> None:
        """Reach all of them; raises as one alone does, which names the one that is not reached."""
        started = await asyncio.gather(*(broker.start() for broker in self._brokers), return_exceptions=True)
        for error in started:
            if error is not None:
                up = [broker for broker, failed in zip(self._brokers, started, strict=True) if failed is None]
                await asyncio.gather(*(broker.stop(0) for broker in up))
                raise error

    async def share(self, name: str, value: bytes, take: Callable[[bytes], None]) -> None:
        """Agree on a value with the other processes, over the first of them in an order that is the same everywhere."""
        await self._in_order[0].share(name, value, take)

    async def stop(self, within_s: float) -> None:
        """Let what is on its way arrive, and hang up."""
        if self._peers is not None:
            self._peers.leave()
        await asyncio.gather(*(broker.stop(within_s) for broker in self._brokers))

    def publish(
        self,
        kind: GroupKind,
        name: str,
        payload: bytes,
        *,
        lossy: bool = False,
        recoverable: bool = False,
        except_connection: str | None = None,
        except_origin: str | None = None,
        reply_to: tuple[str, str | None] | None = None,
    ) -> PublishResult:
        """Publish one message over the Redis of its group."""
        return self._of(kind, name).publish(
            kind,
            name,
            payload,
            lossy=lossy,
            recoverable=recoverable,
            except_connection=except_connection,
            except_origin=except_origin,
            reply_to=reply_to,
        )

    async def published(
        self,
        kind: GroupKind,
        name: str,
        payload: bytes,
        *,
        lossy: bool = False,
        recoverable: bool = False,
        except_connection: str | None = None,
        except_origin: str | None = None,
    ) -> PublishResult:
        """Publish, and return once the message is in the store of its group; raises NotPublishedError."""
        return await self._of(kind, name).published(
            kind,
            name,
            payload,
            lossy=lossy,
            recoverable=recoverable,
            except_connection=except_connection,
            except_origin=except_origin,
        )

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Have a group's messages delivered here."""
        self._of(kind, name).subscribe(kind, name)

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Have them delivered no more."""
        self._of(kind, name).unsubscribe(kind, name)

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        """Wait until a group is level with its store, and has at hand what that keeps behind a position."""
        await self._of(kind, name).ready(kind, name, asked)

    def position(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands that is level with its store."""
        return self._of(kind, name).position(kind, name)

    def since(
        self, kind: GroupKind, name: str, asked: Position, client: str | None = None
    ) -> Sequence[KeptEvent] | None:
        """Return the events behind a position, if all of them are here, or were made ready."""
        return self._of(kind, name).since(kind, name, asked, client)

    async def history(self, kind: GroupKind, name: str, limit: int, before: int | None = None) -> Sequence[bytes]:
        """Return the newest events that a group's store keeps, the oldest first; raises NotPublishedError."""
        return await self._of(kind, name).history(kind, name, limit, before)

    async def forget(self, kind: GroupKind, name: str) -> None:
        """Have its store keep nothing of a group; raises NotPublishedError."""
        await self._of(kind, name).forget(kind, name)

    def check(self) -> None:
        """Look after all of them."""
        for broker in self._brokers:
            broker.check()
        if self._peers is not None:
            self._peers.check()

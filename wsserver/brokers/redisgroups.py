"""The groups of this process, kept level with what a Redis holds of them: what comes in, and who may come in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from wscore.envelope import with_seq
from wscore.histories import Histories
from wscore.recovery import GroupHistory, Position, RecoveryLimits
from wsserver.brokers.base import (
    RECOVERABLE_KINDS,
    ROOM,
    SESSION,
    USER,
    Deliver,
    GroupKind,
    KeptEvent,
    Lost,
    NotPublished,
    NotPublishedError,
    Peers,
)
from wsserver.brokers.batches import CorruptBatchError, Item, read_batch, read_items
from wsserver.brokers.groupsync import GroupSync
from wsserver.brokers.redisbackplane import RedisBackplane, new_epoch
from wsserver.brokers.redisqueue import Keys
from wsserver.telemetry.counters import Counter
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Missed

READY_S: Final = 2.0  # how long who comes waits for a group to be level with the store
HOLD_S: Final = 30.0  # how long a group stays that was made ready, and nobody has come into
RESYNC_S: Final = 40.0  # each group is held against the store so often
RETRY_S: Final = 2.0  # and one that got no answer so often
KNOWN_GROUPS: Final = 16_384  # whose names in Redis need not be put together again
EXPIRED_AT_ONCE: Final = 2000  # groups: some milliseconds of the loop's time
NOTE: Final = b"!"  # begins what processes tell each other of a room, where a batch has its epoch
_TAGS: Final[dict[GroupKind, str]] = {SESSION: "s", ROOM: "r", USER: "u"}


class RedisGroup:
    """One group here: its place in Redis, how level it is, and what waits to be published."""

    __slots__ = (
        "events",
        "has_members",
        "history",
        "is_subscribed",
        "keys",
        "kind",
        "level",
        "name",
        "recalled",
        "resync_s",
        "sync",
        "until_s",
    )

    def __init__(
        self, kind: GroupKind, name: str, keys: Keys, history: GroupHistory | None, groups: RedisGroups
    ) -> None:
        self.kind = kind
        self.name = name
        self.keys = keys
        self.history = history
        self.events = _Events(self, groups)
        self.sync = GroupSync(self.events)
        self.has_members = self.is_subscribed = False
        self.recalled: tuple[str, int, list[Item]] | None = None  # epoch, first seq, and what the store has from there
        self.until_s = self.resync_s = 0.0
        self.level: list[asyncio.Future[None]] = []  # who waits for it to be level

    @property
    def is_level(self) -> bool:
        """Whether it has all that the store has; one without a history only has to be subscribed to."""
        return self.is_subscribed and (self.history is None or self.sync.is_live)


class _Events:
    """A group's side of `GroupSync`: where its messages go."""

    __slots__ = ("_append", "_deliver", "_group", "_groups", "_history", "_kind", "_name", "_now_s")

    def __init__(self, group: RedisGroup, groups: RedisGroups) -> None:
        self._group = group
        self._groups = groups
        self._kind, self._name, self._history = group.kind, group.name, group.history
        self._append, self._deliver, self._now_s = groups.histories.append, groups.deliver, groups.now_s

    def take(self, item: Item, seq: int | None) -> None:
        """Deliver a message, and keep it if it has a seq."""
        if seq is not None and self._history is not None:
            self._append(self._history, item.payload, self._now_s(), item.origin or None)
        self._deliver(self._kind, self._name, item.payload, item.is_lossy, item.without or None, seq)

    def begin(self, position: Position) -> None:
        """Begin to count."""
        self._groups.move(self._group, position)

    def lose(self, position: Position) -> None:
        """Begin anew, and tell the members."""
        self._groups.move(self._group, position)
        self._groups.lose(self._group, position)


class RedisGroups:
    """Every group that somebody is in here, or is about to come into."""

    def __init__(
        self,
        prefix: str,
        limits: RecoveryLimits,
        now_s: Callable[[], float],
        missed: Mapping[Missed, Counter],
        log: EventLog,
    ) -> None:
        # The kinds whose events have a seq.
        self.counted = RECOVERABLE_KINDS if limits.is_on else frozenset[GroupKind]()
        self._limits = limits
        self.now_s = now_s
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._by_channel: dict[str, RedisGroup] = {}
        self.histories = Histories(limits, new_epoch)
        self.others: dict[str, Callable[[bytes], None]] = {}  # what takes what is no group's, by channel
        self.peers: Peers | None = None
        self._missed = missed

        @lru_cache(KNOWN_GROUPS)
        def keys(kind: GroupKind, name: str) -> Keys:
            if kind == USER:
                name = hashlib.sha256(name.encode()).hexdigest()  # who is connected is not for who sees the keys
            channel = f"{prefix}{{{_TAGS[kind]}:{name}}}"
            return Keys(channel, f"{channel}:meta", f"{channel}:log")

        self.keys = keys  # of a group, in Redis: each message asks for them

    def attach(self, backplane: RedisBackplane, deliver: Deliver, lost: Lost) -> None:
        """Name where groups are subscribed to, what takes their messages, and what is told that history was lost."""
        self._backplane = backplane
        self.deliver = deliver
        self._lost = lost

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Have a group's messages delivered here."""
        group = self._find(kind, name)
        group.has_members = True
        if kind == ROOM and group.is_subscribed and self.peers is not None:
            self.peers.entered(name)

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Have them delivered no more."""
        channel = self.keys(kind, name).channel
        group = self._by_channel.get(channel)
        if group is not None:
            group.has_members = False
            self._drop(channel, group)

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        """Wait until a group is level with the store, and has at hand what it keeps behind a position."""
        group = self._find(kind, name)
        group.until_s = self.now_s() + HOLD_S
        async with asyncio.timeout(READY_S):
            if not group.is_level:
                await self._levelled(group)
            history = group.history
            if history is not None and asked is not None and history.epoch == asked.epoch and asked.seq > history.seq:
                self._sync(group)  # another process was ahead of this one
                await self._levelled(group)
            if asked is None or history is None or history.epoch != asked.epoch:
                return
            if asked.seq >= self.histories.floor(history, self.now_s()):
                return
            await self._recall(group, asked)

    async def _levelled(self, group: RedisGroup) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        group.level.append(future)
        await future

    def position(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands that is level with the store."""
        if kind not in self.counted:
            return None
        return self._find(kind, name).sync.position

    def since(
        self, kind: GroupKind, name: str, asked: Position | None, client: str | None = None
    ) -> Sequence[KeptEvent] | None:
        """Return the events behind a position that are kept here, if all of them are."""
        group = self._find(kind, name)
        history = group.history
        if history is None or asked is None:
            return None
        now_s = self.now_s()
        events = self.histories.since(history, asked, now_s, client)
        if events is not None:
            return [KeptEvent(seq - 1, seq, event) for seq, event in events]
        recalled = group.recalled
        if recalled is None or recalled[0] != asked.epoch or recalled[0] != history.epoch:
            return None
        _, first, items = recalled
        last = first + len(items) - 1
        newer = self.histories.since(history, Position(asked.epoch, last), now_s, client)
        if not first - 1 <= asked.seq <= last or newer is None:
            return None
        older = [
            (seq, None if client and item.origin == client else with_seq(item.payload, seq))
            for seq, item in enumerate(items, first)
            if seq > asked.seq
        ]
        return [KeptEvent(seq - 1, seq, event) for seq, event in older + newer]

    def check(self) -> None:
        """Look after connections and groups, and let go of what is too old."""
        now_s = self.now_s()
        if self._limits.is_on:
            self.histories.expire(now_s, EXPIRED_AT_ONCE)
        for channel, group in tuple(self._by_channel.items()):
            if not group.has_members and group.until_s <= now_s:
                self._drop(channel, group)
                continue
            if group.until_s <= now_s:
                group.recalled = None
            if group.is_subscribed and group.history is not None and group.resync_s <= now_s:
                self._sync(group)

    def pushed(self, channel: str, published: bytes) -> None:
        """Take what a subscription brought."""
        group = self._by_channel.get(channel)
        if group is None:
            if channel in self.others:
                self.others[channel](published)
            return
        if published.startswith(NOTE):
            if self.peers is not None:
                self.peers.take(published[1:])
            return
        try:
            batch = read_batch(published)
        except CorruptBatchError as error:
            self._missed[Missed.UNREADABLE].value += 1
            self._log.warning("broker.corrupt", channel=channel, problem=str(error))
            return
        if group.history is None:
            for item in batch.items:
                group.events.take(item, None)
        elif group.sync.pushed(batch):
            self._sync(group)

    def subscribed(self, channel: str) -> None:
        """Note that a subscription took effect: what is published from now on comes here."""
        group = self._by_channel.get(channel)
        if group is None:
            return
        group.is_subscribed = True
        if group.kind == ROOM and self.peers is not None:
            self.peers.resubscribed(group.name)
            if group.has_members:
                self.peers.entered(group.name)
        if group.history is None:
            self._tell_level(group)
        else:
            self._sync(group)

    def changed(self) -> None:
        """Whatever was lost is read again; while the subscription stands nothing is missed of what others publish."""
        backplane = self._backplane
        for group in self._by_channel.values():
            if not backplane.is_subscribed:
                group.sync.is_live = group.is_subscribed = False
            elif backplane.is_up and group.is_subscribed and group.history is not None:
                self._sync(group)

    def deliver_here(self, channel: str, packed: bytes) -> int:
        """Deliver what has no number to those who are here: no other process can be reached. Returns how much it is."""
        group = self._by_channel.get(channel)
        items = read_items(packed)
        if group is not None:
            for item in items:
                group.events.take(item, None)
        return len(items)

    async def ask(self, keys: Keys, after: int) -> tuple[Position, list[Item]]:
        """Ask the store where a group stands, and for all behind a seq; raises NotPublishedError or TimeoutError."""
        future: asyncio.Future[tuple[Position, list[Item]]] = self._loop.create_future()

        def found(position: Position, items: list[Item]) -> None:
            if not future.done():
                future.set_result((position, items))

        if not self._backplane.history(keys, after, found):
            raise NotPublishedError(NotPublished("the broker is not reached", False))
        async with asyncio.timeout(READY_S):
            return await future

    def move(self, group: RedisGroup, position: Position) -> None:
        """Have a group stand at a position, with nothing kept."""
        if group.history is not None:
            self.histories.move(group.history, position)

    def lose(self, group: RedisGroup, position: Position) -> None:
        """Tell a group's members that history is lost."""
        self._log.warning("broker.history_lost", kind=group.kind, epoch=position.epoch, seq=position.seq)
        self._lost(group.kind, group.name, position)

    def tell_lost(self, is_lost: Callable[[GroupKind, str], bool]) -> None:
        """Tell the members of some groups that messages may have gone to another place; they count on from here."""
        for group in self._by_channel.values():
            if group.has_members and group.sync.position is not None and is_lost(group.kind, group.name):
                self.lose(group, group.sync.position)

    async def _recall(self, group: RedisGroup, asked: Position) -> None:
        with suppress(NotPublishedError):  # then it is not recovered, and told so
            position, items = await self.ask(group.keys, asked.seq)
            group.recalled = (position.epoch, asked.seq + 1, items) if items else None

    def _find(self, kind: GroupKind, name: str) -> RedisGroup:
        keys = self.keys(kind, name)
        group = self._by_channel.get(keys.channel)
        if group is None:
            history = self.histories.find(kind, name, self.now_s()) if kind in self.counted else None
            if history is not None:
                self.histories.hold(history)  # as long as the group is here: under the cap it keeps its position
            group = self._by_channel[keys.channel] = RedisGroup(kind, name, keys, history, self)
            self._backplane.subscribe(keys.channel)
        return group

    def _drop(self, channel: str, group: RedisGroup) -> None:
        if group.has_members or group.until_s > self.now_s():
            return
        if group.kind == ROOM and self.peers is not None:
            if self.peers.holds(group.name):
                return
            self.peers.unsubscribed(group.name)
        del self._by_channel[channel]
        self._backplane.unsubscribe(channel)
        if group.history is not None:
            self.histories.forget(group.history)  # what comes meanwhile is not seen: the store has it

    def _sync(self, group: RedisGroup) -> None:
        question = group.sync.ask()
        group.resync_s = self.now_s() + RETRY_S  # the store may refuse to answer, as a full one does

        def answered(position: Position, items: list[Item]) -> None:
            if self._by_channel.get(group.keys.channel) is not group:
                return
            if group.sync.answered(question, position, items):
                self._sync(group)
            elif group.sync.is_live:
                group.resync_s = self.now_s() + RESYNC_S
                self._tell_level(group)

        self._backplane.history(group.keys, group.sync.after, answered)

    def _tell_level(self, group: RedisGroup) -> None:
        waiting, group.level = group.level, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

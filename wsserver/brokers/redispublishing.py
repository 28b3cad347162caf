"""What a process publishes through Redis: a batch for each group and turn of the event loop (design section 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from wsserver.brokers.base import (
    UNNUMBERED,
    GroupKind,
    NotPublished,
    NotPublishedError,
    PublishResult,
    Unpublished,
)
from wsserver.brokers.batches import LOSSY, NUMBERED, pack_head
from wsserver.brokers.redisbackplane import RedisBackplane
from wsserver.brokers.redisgroups import RedisGroups
from wsserver.brokers.redisqueue import Keys, NotStored, Stored
from wsserver.telemetry.counters import Counter
from wsserver.telemetry.metrics import Missed


class _Outgoing:
    """What is published to a group in this turn, and who wants to know how it went."""

    __slots__ = ("keys", "numbered", "packed", "replies", "tell")

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.packed: list[bytes] = []
        self.numbered = 0
        self.replies: list[tuple[str, str | None]] = []  # those to be told if it fails
        self.tell: list[tuple[int, asyncio.Future[PublishResult]]] = []

    def answered(self, answer: Stored | NotStored) -> None:
        """Tell those who wait for it."""
        for index, future in self.tell:
            if future.done():
                continue
            if isinstance(answer, NotStored):
                future.set_exception(NotPublishedError(NotPublished(answer.problem, answer.is_unknown)))
            else:
                future.set_result(PublishResult(answer.epoch, answer.first + index) if answer.first else UNNUMBERED)


class RedisPublishing:
    """The side of a broker that publishes: the names of groups, and the way out, are the broker's."""

    _backplane: RedisBackplane

    def __init__(self, groups: RedisGroups, missed: Mapping[Missed, Counter]) -> None:
        self._groups = groups
        self._counted = groups.counted
        self._missed = missed
        self._outgoing: dict[tuple[GroupKind, str], _Outgoing] = {}
        self._loop = asyncio.get_running_loop()
        self._unpublished: Unpublished | None = None

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
        """Publish one message; where it stands nobody knows yet."""
        outgoing = self._outgoing.get((kind, name)) or self._gather(kind, name)
        flags = LOSSY if lossy else 0
        if recoverable and kind in self._counted:
            flags |= NUMBERED
            outgoing.numbered += 1
            if reply_to is not None:
                outgoing.replies.append(reply_to)
        outgoing.packed += (pack_head(len(payload), flags, except_connection, except_origin), payload)
        return UNNUMBERED

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
        """Publish, and return once the message is in the store; raises NotPublishedError."""
        self.publish(
            kind,
            name,
            payload,
            lossy=lossy,
            recoverable=recoverable,
            except_connection=except_connection,
            except_origin=except_origin,
        )
        if not recoverable or kind not in self._counted:
            return UNNUMBERED
        future: asyncio.Future[PublishResult] = self._loop.create_future()
        outgoing = self._outgoing[kind, name]
        outgoing.tell.append((outgoing.numbered - 1, future))
        return await future

    def _gather(self, kind: GroupKind, name: str) -> _Outgoing:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        outgoing = self._outgoing[kind, name] = _Outgoing(self._groups.keys(kind, name))
        return outgoing

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, {}
        backplane = self._backplane
        backplane.hold()
        try:
            for batch in outgoing.values():
                packed = b"".join(batch.packed)
                if batch.numbered:
                    backplane.publish(batch.keys, packed, partial(self._answered, batch))
                elif not backplane.announce(batch.keys, packed):
                    self._missed[Missed.HERE_ONLY].value += self._groups.deliver_here(batch.keys.channel, packed)
        finally:
            backplane.release()

    def _answered(self, batch: _Outgoing, answer: Stored | NotStored) -> None:
        if isinstance(answer, NotStored):
            self._missed[Missed.NOT_STORED].value += batch.numbered
            if self._unpublished is not None:
                for reply_to in batch.replies:
                    self._unpublished(*reply_to, NotPublished(answer.problem, answer.is_unknown))
        if batch.tell:
            batch.answered(answer)

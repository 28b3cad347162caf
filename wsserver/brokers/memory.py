"""The broker of a server that is one process: what is published is delivered at once, and kept for a while."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from wscore.envelope import MAX_SAFE_INTEGER
from wscore.histories import Histories
from wscore.recovery import Position, RecoveryLimits
from wscore.revocations import RevokedEntry
from wsserver.brokers.base import (
    ORDERS,
    RECOVERABLE_KINDS,
    ROOM,
    UNNUMBERED,
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
from wsserver.brokers.revoked import RevokedHere, TakeRevoked

_EXPIRED_AT_ONCE: Final = 2000  # groups: some milliseconds of the loop's time
_NO_RECOVERY: Final = RecoveryLimits(messages=0)
_EPOCH_BYTES: Final = 9


def random_epoch() -> str:
    """Return an epoch that is another one each time, also after a restart."""
    return secrets.token_urlsafe(_EPOCH_BYTES)


class MemoryBroker:
    """Hands every message on, and keeps those that are recoverable within `limits`.

    There is no other process, so nothing has to be subscribed to. `now_s` is the monotonic clock, best one that stands
    still within a turn of the event loop.
    """

    __slots__ = ("_counted", "_deliver", "_histories", "_lost", "_now_s", "_room_told")
    is_shared = False
    process = ""
    is_up = True
    problem = ""
    waiting = 0

    _deliver: Deliver
    _lost: Lost

    def __init__(
        self,
        limits: RecoveryLimits = _NO_RECOVERY,
        *,
        now_s: Callable[[], float] = time.monotonic,
        new_epoch: Callable[[], str] = random_epoch,
    ) -> None:
        self._counted = RECOVERABLE_KINDS if limits.is_on else frozenset[GroupKind]()
        self._now_s = now_s
        self._histories = Histories(limits, new_epoch)
        self._room_told: RoomTold | None = None

    @property
    def size(self) -> int:
        """What is kept for recovery, in bytes."""
        return self._histories.size

    @property
    def evicted(self) -> int:
        """How many events were let go of since there was no room for more, in all."""
        return self._histories.evicted

    def reaches(self, kind: GroupKind, name: str) -> bool:
        """Return True: all is here."""
        return True

    def attach(self, deliver: Deliver, lost: Lost, unpublished: Unpublished) -> None:
        """Name what takes the messages, and what is told that history was lost; nothing remains unpublished."""
        self._deliver = deliver
        self._lost = lost

    def attach_orders(self, take: TakeOrder, topic: Topic = ORDERS) -> None:
        """Do nothing: there is nobody who gives orders."""

    def order(self, packed: bytes, process: str | None = None, *, topic: Topic = ORDERS) -> bool:
        """Return False: there is no other process."""
        return False

    def attach_revoked(self, take: TakeRevoked, here: RevokedHere) -> None:
        """Do nothing: there is nobody else who revokes."""

    async def revoke(self, entry: RevokedEntry) -> None:
        """Do nothing: there is no other process."""

    def attach_peers(self, peers: Peers) -> None:
        """Do nothing: nobody else has members of a room."""

    def attach_occupied(self, tell: RoomTold) -> None:
        """Name what is told of rooms, in the turn in which they change."""
        self._room_told = tell

    async def occupied_told(self) -> None:
        """Do nothing: all is told at once."""

    def tell(
        self,
        note: bytes,
        *,
        room: str | None = None,
        process: str | None = None,
        reached: Callable[[int], None] | None = None,
    ) -> bool:
        """Return False: there is no other process."""
        return False

    async def start(self) -> None:
        """Do nothing: there is nothing to reach."""

    async def share(self, name: str, value: bytes, take: Callable[[bytes], None]) -> None:
        """Take the value: there is nobody to agree with."""
        take(value)

    async def stop(self, within_s: float) -> None:
        """Do nothing."""

    async def ready(self, kind: GroupKind, name: str, asked: Position | None = None) -> None:
        """Do nothing: what is known of a group is here."""

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
        """Deliver one message to those who are in the group now."""
        # Apart from their calls: Python 3.11 looks for methods first otherwise.
        deliver, now = self._deliver, self._now_s
        if not recoverable or kind not in self._counted:
            deliver(kind, name, payload, lossy, except_connection, None)
            return UNNUMBERED
        histories, now_s = self._histories, now()
        history = histories.find(kind, name, now_s)
        if history.seq >= MAX_SAFE_INTEGER:
            histories.renew(history)
            self._lost(kind, name, history.position)
        histories.append(history, payload, now_s, except_origin)
        seq = history.seq
        deliver(kind, name, payload, lossy, except_connection, seq)
        return PublishResult(history.epoch, seq)

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
        """Publish, which is done at once here."""
        return self.publish(
            kind,
            name,
            payload,
            lossy=lossy,
            recoverable=recoverable,
            except_connection=except_connection,
            except_origin=except_origin,
        )

    def subscribe(self, kind: GroupKind, name: str) -> None:
        """Keep the group's position as long as it has members."""
        if self._room_told is not None and kind is ROOM:
            self._room_told(name, True, None)
        if kind in self._counted:
            self._histories.hold(self._histories.find(kind, name, self._now_s()))

    def unsubscribe(self, kind: GroupKind, name: str) -> None:
        """Keep it for the window's age from now on."""
        if self._room_told is not None and kind is ROOM:
            self._room_told(name, False, None)
        if kind in self._counted:
            now_s = self._now_s()
            self._histories.let_go(self._histories.find(kind, name, now_s), now_s)

    def position(self, kind: GroupKind, name: str) -> Position | None:
        """Return where a group stands."""
        if kind not in self._counted:
            return None
        return self._histories.find(kind, name, self._now_s()).position

    def since(
        self, kind: GroupKind, name: str, asked: Position, client: str | None = None
    ) -> Sequence[KeptEvent] | None:
        """Return the events behind a position, if all of them are there."""
        now_s = self._now_s()
        history = self._histories.find(kind, name, now_s)
        events = self._histories.since(history, asked, now_s, client)
        return None if events is None else [KeptEvent(seq - 1, seq, event) for seq, event in events]

    async def history(self, kind: GroupKind, name: str, limit: int, before: int | None = None) -> Sequence[bytes]:
        """Return the last events of a group before a seq."""
        history = self._histories.get(kind, name)
        if history is None or limit <= 0:
            return ()
        return self._histories.events(history, self._now_s(), before)[-limit:]

    async def forget(self, kind: GroupKind, name: str) -> None:
        """Begin to count a group anew, and tell its members."""
        history = self._histories.get(kind, name)
        if history is not None:
            self._histories.renew(history)
            self._lost(kind, name, history.position)

    def check(self) -> None:
        """Let go of what is too old; called every now and then."""
        if self._counted:
            self._histories.expire(self._now_s(), _EXPIRED_AT_ONCE)

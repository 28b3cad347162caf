"""Rooms: who is a member of which, within limits (design section 4); who may become one is decided elsewhere.

A message is gathered before it is written, so a group is flushed before its members change: whoever joins gets nothing
from before, and whoever leaves gets everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from wscore.codes import ErrorCode
from wscore.errors import ConfigError, WsctlError
from wscore.payloads import RoomJoined, RoomLeft, RoomRecovery
from wscore.recovery import Position
from wscore.rooms import RoomAccess
from wsserver.brokers.base import ROOM
from wsserver.connections.delivery import Delivery
from wsserver.connections.groups import Groups
from wsserver.connections.replays import RecoveryAnswer, Replays
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.state import Connection, Group, Mark
from wsserver.connections.witness import Witness

ROOM_BYTES: Final = 600  # a room with its containers, besides its name
MEMBER_BYTES: Final = 150  # a membership, with what the containers at both ends keep free
DEFAULT_MAX_ROOMS: Final = 100
DEFAULT_ROOM_MEMORY: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """How many rooms one connection may be in, and how many bytes all memberships may take; raises ConfigError."""

    per_connection: int = DEFAULT_MAX_ROOMS
    in_all: int = DEFAULT_ROOM_MEMORY

    def __post_init__(self) -> None:
        if self.per_connection < 0:
            raise ConfigError("--max-rooms", "cannot be less than 0", "use 0 for no rooms at all")
        if self.in_all < 0:
            raise ConfigError("--max-room-memory", "cannot be less than 0B")


class RoomLimitError(WsctlError):
    """A connection cannot join one more room: it is in `limit` rooms, or else the server holds all that it may."""

    def __init__(self, room: str, limit: int | None) -> None:
        super().__init__(room, limit)
        self.room = room
        self.limit = limit

    @property
    def code(self) -> ErrorCode:
        """What the client is told: its own limit is its own fault, the server's may have room later."""
        return ErrorCode.PROCESSING_ERROR if self.limit is None else ErrorCode.FORBIDDEN

    @property
    def details(self) -> dict[str, object] | None:
        """The `details` of that error."""
        return None if self.limit is None else {"limit": self.limit}

    def __str__(self) -> str:
        if self.limit is None:
            return "The server holds all the rooms it may; try it again later."
        return f"A connection may be in {self.limit} rooms at a time."


class MemberWatch(Protocol):
    """What keeps who is in a room, for those who asked to be told."""

    @property
    def used(self) -> int:
        """What that takes, in bytes."""

    def joined(self, room: Group, connection: Connection) -> None:
        """Note that a connection is a member now."""

    def left(self, room: Group, connection: Connection, *, is_lost: bool) -> None:
        """Note that a connection is no member any more: it left the room, or it is lost altogether."""

    def watch(self, room: Group, connection: Connection) -> tuple[list[str] | None, int]:
        """Tell a member of what changes; returns the users who are there, None if too many, and how many they are."""

    def size_of_watching(self, room: str) -> int:
        """Return how many bytes it takes to watch a room, beyond what is taken already."""

    async def ready(self, room: str) -> None:
        """Wait until it is known who is in a room, so that it can be watched; raises TimeoutError."""

    async def members(self, room: str) -> list[str]:
        """Return the user ids of who is in a room; raises NotPublishedError if other processes cannot be asked."""


class Rooms:
    """Joins and leaves, and tells the connection of both."""

    __slots__ = ("_delivery", "_groups", "_limits", "_replays", "_sender", "_used", "_watch", "witness")

    def __init__(
        self,
        groups: Groups,
        delivery: Delivery,
        replays: Replays,
        sender: EnvelopeSender,
        watch: MemberWatch,
        limits: RoomLimits,
    ) -> None:
        self._groups = groups
        self._watch = watch
        self._delivery = delivery
        self._replays = replays
        self._sender = sender
        self.witness: Witness | None = None
        self._limits = limits
        self._used = 0

    @property
    def used(self) -> int:
        """What all memberships take, and what is kept for those who watch a room, in bytes."""
        return self._used + self._watch.used

    @property
    def free(self) -> int:
        """How many bytes they may take yet."""
        return self._limits.in_all - self.used

    async def members(self, room: str) -> list[str]:
        """Return the user ids of who is in a room, as those are told who watch it; raises NotPublishedError."""
        return await self._watch.members(room)

    async def ready_to_watch(self, room: str) -> None:
        """Wait until it is known who is in a room; raises TimeoutError. One joins in the same turn, or asks again."""
        await self._watch.ready(room)

    def of(self, connection: Connection) -> tuple[str, ...]:
        """Return the rooms that a connection is in, safe to iterate while it joins and leaves."""
        return tuple(group.name for group in connection.rooms or ())

    def access(self, connection_id: str, room: str) -> RoomAccess:
        """Return what a connection may do in a room as it is now: nothing, unless it is a member."""
        group = self._groups.get(ROOM, room)
        if group is None or connection_id not in group.members:
            return RoomAccess.NONE
        if group.marks is None:
            return RoomAccess.PUBLISH
        return RoomAccess.LISTEN if Mark.LISTENS in _mark(group, connection_id) else RoomAccess.PUBLISH

    def refusal(self, connection_id: str, room: str, needed: RoomAccess | None = None) -> str | None:
        """Say why a connection may not send what is for a room, None if it may; `needed` is PUBLISH unless given."""
        access = self.access(connection_id, room)
        if access in (RoomAccess.PUBLISH, needed):
            return None
        may_not = "are not in" if access is RoomAccess.NONE else "may not publish to"
        return f"You {may_not} the room {room}."

    def is_placed(self, connection_id: str, room: str) -> bool:
        """Tell whether it was the app that put a connection into a room, and so no token decides about that."""
        group = self._groups.get(ROOM, room)
        return group is not None and Mark.IS_PLACED in _mark(group, connection_id)

    def join(
        self,
        connection: Connection,
        room: str,
        access: RoomAccess,
        *,
        placed: bool = False,
        presence: bool = False,
        asked: Position | None = None,
        id: str | None = None,
    ) -> bool:
        """Make a connection a member, and send it `room.joined`; returns False if it is closing.

        One that names a position is sent what is behind it. One that is a member already may do what `access` says from
        now on. Raises RoomLimitError.
        """
        group = self._groups.find(ROOM, room)
        is_new = connection.id not in group.members
        if is_new:
            self._check(connection, group, watches=presence)
            self._settle(connection, group)
        if not connection.is_open:
            return False
        if is_new:
            self._enter(connection, group)
        listens = Mark.LISTENS if access is RoomAccess.LISTEN else Mark(0)
        _set_mark(group, connection, listens | (Mark.IS_PLACED if placed else Mark(0)))
        if not is_new:
            return True
        answer = self._replays.answer(connection, ROOM, room, asked)
        is_told = self._tell(connection, group, answer, presence=presence, id=id)
        if answer is not None:
            self._replays.send(connection, ROOM, room, answer.events)
        return is_told

    def confirm(
        self,
        connection: Connection,
        room: str,
        *,
        presence: bool = False,
        asked: Position | None = None,
        id: str | None = None,
    ) -> bool:
        """Send `room.joined` to a member, with who is there if it asks for `presence`; returns False if it is closing.

        Nothing is replayed: only who names the current position is told that it has everything. Raises RoomLimitError
        if there is no room to keep who is there.
        """
        group = self._groups.find(ROOM, room)
        if presence:
            self._check_memory(group, self._watch.size_of_watching(room))
        self._settle(connection, group)
        stands = self._replays.stands(ROOM, room)
        answer = stands and RecoveryAnswer(stands, None if asked is None else asked == stands, ())
        return self._tell(connection, group, answer, presence=presence, id=id)

    def leave(self, connection: Connection, room: str, *, reason: str | None = None) -> bool:
        """Take a connection out of a room, and tell it with a `reason` that it was made to; False if it is not in."""
        group = self._groups.get(ROOM, room)
        if group is None or connection.id not in group.members:
            return False
        self._delivery.flush(group)
        assert connection.rooms is not None
        connection.rooms.remove(group)
        self._exit(connection, group, is_lost=False)
        if reason is not None:
            self._sender.send(connection, "room.left", RoomLeft(room, reason))
        return True

    def leave_all(self, connection: Connection) -> None:
        """Take a connection that is gone out of all its rooms."""
        rooms, connection.rooms = connection.rooms, None
        for group in rooms or ():
            self._exit(connection, group, is_lost=True)

    def _settle(self, connection: Connection, group: Group) -> None:
        """Write out what was published before: the answer is then written at once, where its position is true."""
        self._delivery.flush(group)
        self._delivery.flush(connection.session)

    def _tell(
        self, connection: Connection, group: Group, answer: RecoveryAnswer | None, *, presence: bool, id: str | None
    ) -> bool:
        members, count = self._watch.watch(group, connection) if presence else (None, None)
        recovery = None if answer is None else RoomRecovery(*answer.position, answer.recovered)
        return self._sender.send(connection, "room.joined", RoomJoined(group.name, members, count, recovery), id=id)

    def _check(self, connection: Connection, group: Group, *, watches: bool) -> None:
        """Raise RoomLimitError unless there is room for one more member."""
        if len(connection.rooms or ()) >= self._limits.per_connection:
            raise RoomLimitError(group.name, self._limits.per_connection)
        self._check_memory(group, _size(group) + (self._watch.size_of_watching(group.name) if watches else 0))

    def _check_memory(self, group: Group, size: int) -> None:
        if size > self.free:
            raise RoomLimitError(group.name, None)

    def _enter(self, connection: Connection, group: Group) -> None:
        self._used += _size(group)
        self._groups.join(group, connection)
        if connection.rooms is None:
            connection.rooms = [group]
        else:
            connection.rooms.append(group)
        self._watch.joined(group, connection)
        if self.witness is not None:
            self.witness.joined(group.name, connection)

    def _exit(self, connection: Connection, group: Group, *, is_lost: bool) -> None:
        _set_mark(group, connection, Mark(0))
        if self.witness is not None:
            self.witness.left(group.name, connection)
        self._groups.leave(group, connection)
        self._used -= _size(group)
        self._watch.left(group, connection, is_lost=is_lost)


def _size(group: Group) -> int:
    """Return what one more member of a group takes: the first one, the group as well."""
    return MEMBER_BYTES if group.members else MEMBER_BYTES + ROOM_BYTES + len(group.name)


def _mark(group: Group, connection_id: str) -> Mark:
    return Mark(0) if group.marks is None else group.marks.get(connection_id, Mark(0))


def _set_mark(group: Group, connection: Connection, mark: Mark) -> None:
    if mark:
        group.marks = group.marks or {}
        group.marks[connection.id] = mark
    elif group.marks is not None:
        group.marks.pop(connection.id, None)

"""Who is in a room, told to those members who asked: by user and not by connection (design section 4).

What changes is gathered for 250 ms. Who lost its last connection is there for 5 s more: a reconnect is no flicker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import UNSET

from wscore.envelope import MessageProtocol
from wscore.payloads import Presence
from wsserver.brokers.base import ROOM
from wsserver.connections.delivery import Delivery
from wsserver.connections.groups import Groups
from wsserver.connections.state import Connection, Group
from wsserver.lifetime.watched import ROOM_BYTES, USER_BYTES, Watched
from wsserver.telemetry.metrics import Metrics

GATHER_S: Final = 0.25
LINGER_S: Final = 5.0
MAX_LISTED: Final = 1000  # of more users than these only the number is told


class Neighbours(Protocol):
    """The other processes that have members of the same rooms; `used` is what is known of them, in bytes."""

    used: int

    def users(self, room: str) -> Mapping[str, int]:
        """Return who is in a room elsewhere, and in how many processes."""

    def is_told(self, room: str) -> bool:
        """Whether others are told of who is in a room here."""

    def changed(self, room: str, user_id: str, has_come: bool) -> None:
        """Note that a user is in a room here, or is not any longer."""

    def forgotten(self, room: str) -> None:
        """Note that nobody is in a room here any more, or nobody wants to know."""

    async def ready(self, room: str) -> None:
        """Wait until all have said who is in a room; raises TimeoutError if they cannot be asked."""

    async def members(self, room: str) -> list[str]:
        """Return who is in a room, here and elsewhere; raises NotPublishedError if the others cannot be asked."""


class PresenceWatch:
    """Keeps the rooms in which somebody asked for presence; `call_later` takes seconds, `now_s` is monotonic.

    `neighbours` are the other processes, None without any.
    """

    __slots__ = (
        "_call_later",
        "_delivery",
        "_groups",
        "_is_expiring",
        "_lost",
        "_now_s",
        "_protocol",
        "_rooms",
        "_sent",
        "_used",
        "neighbours",
    )

    def __init__(
        self,
        groups: Groups,
        delivery: Delivery,
        protocol: MessageProtocol,
        metrics: Metrics,
        *,
        call_later: Callable[..., Any],
        now_s: Callable[[], float],
    ) -> None:
        self._groups = groups
        self._delivery = delivery
        self._protocol = protocol
        self._sent = metrics.sent["presence"]
        self._call_later = call_later
        self._now_s = now_s
        self._rooms: dict[str, Watched] = {}
        # When to look again at a user who may be lost still, or for None at a room that nobody may watch any more.
        self._lost: deque[tuple[float, str, str | None]] = deque()
        self._is_expiring = False
        self._used = 0
        self.neighbours: Neighbours | None = None

    @property
    def used(self) -> int:
        """What all that takes, in bytes."""
        return self._used + (self.neighbours.used if self.neighbours else 0)

    def joined(self, room: Group, connection: Connection) -> None:
        """Note that a connection is a member now."""
        watched = self._rooms.get(room.name)
        if watched is None:
            return
        user_id = connection.principal.user_id
        if user_id not in watched.users:
            self._used += USER_BYTES
            self._changed_here(room.name, watched, user_id, True, is_news=watched.come(user_id))
        watched.lost.pop(user_id, None)
        watched.users[user_id] += 1

    def left(self, room: Group, connection: Connection, *, is_lost: bool) -> None:
        """Note that a connection is no member any more; one that `is_lost` may come back within 5 s."""
        watched = self._rooms.get(room.name)
        if watched is None:
            return
        self._unwatch(room.name, watched, connection)
        user_id = connection.principal.user_id
        watched.users[user_id] -= 1
        if watched.users[user_id]:
            return
        if is_lost:
            watched.lost[user_id] = self._look_later(room.name, user_id)
        else:
            self._gone(room.name, watched, user_id)
            if not watched.users:
                self._forget(room.name, watched)

    def watch(self, room: Group, connection: Connection) -> tuple[list[str] | None, int]:
        """Tell a member of what changes from now on; returns who is there, None if they are too many, and how many."""
        watched = self._rooms.get(room.name) or self._keep(room.name, room)
        if watched.changes:
            watched.newcomers[connection.id] = connection, len(watched.changes)
            watched.watchers.members.pop(connection.id, None)
        else:
            watched.watchers.members[connection.id] = connection
        count = watched.count
        return (watched.everyone() if count <= MAX_LISTED else None), count

    def size_of_watching(self, room: str) -> int:
        """Return how many bytes it takes to watch a room, beyond what is taken already."""
        if room in self._rooms:
            return 0
        group = self._groups.get(ROOM, room)
        return ROOM_BYTES + USER_BYTES * (0 if group is None else len(group.members))

    async def ready(self, room: str) -> None:
        """Wait until it is known who is in a room, so that it can be watched; raises TimeoutError."""
        if self.neighbours is not None:
            await self.neighbours.ready(room)

    async def members(self, room: str) -> list[str]:
        """Return the user ids of who is in a room; raises NotPublishedError if other processes cannot be asked."""
        return self.here(room) if self.neighbours is None else await self.neighbours.members(room)

    def here(self, room: str) -> list[str]:
        """Return the user ids of who is in a room in this process."""
        watched = self._rooms.get(room)
        if watched is not None:
            return list(watched.users)
        group = self._groups.get(ROOM, room)
        members = () if group is None else group.members.values()
        return list(dict.fromkeys(member.principal.user_id for member in members))

    def is_watched(self, room: str) -> bool:
        """Whether anybody here is told who is in a room."""
        watched = self._rooms.get(room)
        return watched is not None and watched.is_watched

    def is_kept(self, room: str) -> bool:
        """Whether it is kept who is in a room, or may come back to it."""
        return room in self._rooms

    def keep(self, room: str) -> None:
        """Keep who is in a room, for other processes."""
        if room not in self._rooms:
            self._keep(room, self._groups.get(ROOM, room))

    def keep_no_longer(self, room: str) -> None:
        """Let go of a room that no other process asks for, unless it is watched here."""
        watched = self._rooms.get(room)
        if watched is not None and not self._is_needed(room, watched):
            self._forget(room, watched)

    def moved_elsewhere(self, room: str, user_id: str, has_come: bool) -> None:
        """Note that a user has come into a room in another process, or is there no longer."""
        watched = self._rooms.get(room)
        if watched is not None and watched.move_elsewhere(user_id, has_come):
            self._change(room, watched, user_id, has_come)

    def tell_all(self, room: str) -> None:
        """Tell everyone who watches a room who is there: it may be that nobody knew for a while."""
        if room in self._rooms:
            self._tell(room, is_whole=True)

    def _keep(self, name: str, room: Group | None) -> Watched:
        elsewhere = {} if self.neighbours is None else self.neighbours.users(name)
        watched = self._rooms[name] = Watched(name, room, elsewhere)
        self._used += watched.size
        return watched

    def _unwatch(self, name: str, watched: Watched, connection: Connection) -> None:
        was_watched = watched.is_watched
        if connection.id in watched.watchers.members:
            self._delivery.flush(watched.watchers)
            del watched.watchers.members[connection.id]
        watched.newcomers.pop(connection.id, None)
        if was_watched and not watched.is_watched and not watched.is_looked_at:
            watched.is_looked_at = True  # not at once: it would be made anew for whoever joins and leaves all the time
            self._look_later(name, None)

    def _gone(self, name: str, watched: Watched, user_id: str) -> None:
        self._used -= USER_BYTES
        self._changed_here(name, watched, user_id, False, is_news=watched.go(user_id))

    def _changed_here(self, name: str, watched: Watched, user_id: str, has_come: bool, *, is_news: bool) -> None:
        if self.neighbours is not None:
            self.neighbours.changed(name, user_id, has_come)
        if is_news:
            self._change(name, watched, user_id, has_come)

    def _change(self, name: str, watched: Watched, user_id: str, has_come: bool) -> None:
        if not watched.is_watched:
            return
        if not watched.changes:
            self._call_later(GATHER_S, self._tell, name)
        watched.changes.append((user_id, has_come))

    def _is_needed(self, name: str, watched: Watched) -> bool:
        if watched.is_watched or watched.lost or watched.is_looked_at:
            return True
        return bool(watched.users) and self.neighbours is not None and self.neighbours.is_told(name)

    def _forget(self, name: str, watched: Watched) -> None:
        del self._rooms[name]
        self._used -= watched.size
        if self.neighbours is not None:
            self.neighbours.forgotten(name)

    def _look_later(self, name: str, user_id: str | None) -> float:
        deadline_s = self._now_s() + LINGER_S
        self._lost.append((deadline_s, name, user_id))
        if not self._is_expiring:
            self._is_expiring = True
            self._call_later(LINGER_S, self._expire)
        return deadline_s

    def _expire(self) -> None:
        now_s = self._now_s()
        while self._lost and self._lost[0][0] <= now_s:
            deadline_s, name, user_id = self._lost.popleft()
            watched = self._rooms.get(name)
            if watched is None:
                continue
            if user_id is not None and watched.lost.get(user_id) == deadline_s:
                self._gone(name, watched, user_id)
            watched.is_looked_at &= user_id is not None
            if not self._is_needed(name, watched):
                self._forget(name, watched)
        self._is_expiring = bool(self._lost)
        if self._lost:
            self._call_later(self._lost[0][0] - now_s, self._expire)

    def _tell(self, name: str, *, is_whole: bool = False) -> None:
        """Send what has changed to everyone who watches a room, and who is there if that `is_whole`."""
        watched = self._rooms.get(name)
        if watched is None:
            return
        changes, watched.changes = watched.changes, []
        newcomers, watched.newcomers = watched.newcomers, {}
        count = watched.count
        watchers = watched.watchers
        if count > MAX_LISTED:
            watchers.members |= {key: connection for key, (connection, _) in newcomers.items()}
            newcomers = {}
        everyone = watched.everyone() if is_whole and count <= MAX_LISTED else None
        # From the last change back to the first: who knows many of them already is told of the few that follow.
        net: dict[str, bool] = {}
        position = len(changes)
        for connection, known in sorted(newcomers.values(), key=lambda newcomer: -newcomer[1]):
            _undo(net, changes[known:position])
            position = known
            if net or is_whole:
                self._delivery.send(connection, self._event(name, net, count, everyone))
        _undo(net, changes[:position])
        if (net or is_whole) and watchers.members:
            self._delivery.broadcast(watchers, self._event(name, net, count, everyone))
            self._delivery.flush(watchers)
        watchers.members |= {key: connection for key, (connection, _) in newcomers.items()}

    def _event(self, name: str, net: Mapping[str, bool], count: int, everyone: list[str] | None) -> bytes:
        joined: list[str] = []
        left: list[str] = []
        if count <= MAX_LISTED:
            for user_id, has_come in reversed(tuple(net.items())):
                (joined if has_come else left).append(user_id)
        data = Presence(name, joined, left, count, UNSET if everyone is None else everyone)
        payload = self._protocol.serialize(self._protocol.create_envelope("presence", data))
        self._sent.add(len(payload))
        return payload


def _undo(net: dict[str, bool], changes: Sequence[tuple[str, bool]]) -> None:
    """Add changes that precede those in `net`: who came and went again, or the other way round, is in it no longer."""
    for user_id, has_come in reversed(changes):
        if net.pop(user_id, None) is None:
            net[user_id] = has_come

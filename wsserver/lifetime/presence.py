"""Who is in a room, told to those members who asked: by user and not by connection (design section 4).

What changes is gathered for 250 ms. Who lost its last connection is there for 5 s more: a reconnect is no flicker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wscore.envelope import MessageProtocol
from wscore.payloads import Presence
from wsserver.brokers.base import ROOM
from wsserver.connections.delivery import Delivery
from wsserver.connections.state import Connection, Group
from wsserver.telemetry.metrics import Metrics

GATHER_S: Final = 0.25
LINGER_S: Final = 5.0
MAX_LISTED: Final = 1000  # of more users than these only the number is told
ROOM_BYTES: Final = 1500  # what is known of a room besides its users and watchers
USER_BYTES: Final = 200


class Watched:
    """What is known of one room.

    `users` counts connections by user id; those who are `lost` have none, and until when they may come back. `watchers`
    are told of all `changes` (a user who came, or else went) since the last time, `newcomers` of those that follow as
    many as they know already. `is_looked_at`: in a while it is seen whether anybody watches still.
    """

    __slots__ = ("changes", "is_looked_at", "lost", "newcomers", "users", "watchers")

    def __init__(self, room: Group) -> None:
        self.users: dict[str, int] = {}
        for member in room.members.values():
            user_id = member.principal.user_id
            self.users[user_id] = self.users.get(user_id, 0) + 1
        self.lost: dict[str, float] = {}
        self.watchers = Group(ROOM, room.name)
        self.newcomers: dict[str, tuple[Connection, int]] = {}
        self.changes: list[tuple[str, bool]] = []
        self.is_looked_at = False

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to be told."""
        return bool(self.watchers.members or self.newcomers)


class PresenceWatch:
    """Keeps the rooms in which somebody asked for presence; `call_later` takes seconds, `now_s` is monotonic.

    `used` is what that takes, in bytes.
    """

    __slots__ = (
        "_call_later",
        "_delivery",
        "_is_expiring",
        "_lost",
        "_now_s",
        "_protocol",
        "_rooms",
        "_sent",
        "used",
    )

    def __init__(
        self,
        delivery: Delivery,
        protocol: MessageProtocol,
        metrics: Metrics,
        *,
        call_later: Callable[..., Any],
        now_s: Callable[[], float],
    ) -> None:
        self._delivery = delivery
        self._protocol = protocol
        self._sent = metrics.sent["presence"]
        self._call_later = call_later
        self._now_s = now_s
        self._rooms: dict[str, Watched] = {}
        # When to look again at a user who may be lost still, or for None at a room that nobody may watch any more.
        self._lost: deque[tuple[float, str, str | None]] = deque()
        self._is_expiring = False
        self.used = 0

    def joined(self, room: Group, connection: Connection) -> None:
        """Note that a connection is a member now."""
        watched = self._rooms.get(room.name)
        if watched is None:
            return
        user_id = connection.principal.user_id
        if user_id not in watched.users:
            self.used += USER_BYTES
            self._change(room.name, watched, user_id, True)
        watched.lost.pop(user_id, None)
        watched.users[user_id] = watched.users.get(user_id, 0) + 1

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
        watched = self._rooms.get(room.name)
        if watched is None:
            watched = self._rooms[room.name] = Watched(room)
            self.used += _size(watched)
        if watched.changes:
            watched.newcomers[connection.id] = connection, len(watched.changes)
            watched.watchers.members.pop(connection.id, None)
        else:
            watched.watchers.members[connection.id] = connection
        count = len(watched.users)
        return (list(watched.users) if count <= MAX_LISTED else None), count

    def size_of_watching(self, room: Group) -> int:
        """Return how many bytes it takes to watch a room, beyond what is taken already."""
        return 0 if room.name in self._rooms else ROOM_BYTES + USER_BYTES * len(room.members)

    def members(self, room: str) -> list[str] | None:
        """Return the user ids of who is in a room, None unless somebody watches it."""
        watched = self._rooms.get(room)
        return None if watched is None else list(watched.users)

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
        del watched.users[user_id]
        watched.lost.pop(user_id, None)
        self.used -= USER_BYTES
        self._change(name, watched, user_id, False)

    def _change(self, name: str, watched: Watched, user_id: str, has_come: bool) -> None:
        if not watched.is_watched:
            return
        if not watched.changes:
            self._call_later(GATHER_S, self._tell, name)
        watched.changes.append((user_id, has_come))

    def _forget(self, name: str, watched: Watched) -> None:
        del self._rooms[name]
        self.used -= _size(watched)

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
            if not watched.is_watched and not watched.lost and not watched.is_looked_at:
                self._forget(name, watched)
        self._is_expiring = bool(self._lost)
        if self._lost:
            self._call_later(self._lost[0][0] - now_s, self._expire)

    def _tell(self, name: str) -> None:
        """Send what has changed to everyone who watches a room."""
        watched = self._rooms.get(name)
        if watched is None:
            return
        changes, watched.changes = watched.changes, []
        newcomers, watched.newcomers = watched.newcomers, {}
        count = len(watched.users)
        watchers = watched.watchers
        if count > MAX_LISTED:
            watchers.members |= {key: connection for key, (connection, _) in newcomers.items()}
            newcomers = {}
        # From the last change back to the first: who knows many of them already is told of the few that follow.
        net: dict[str, bool] = {}
        position = len(changes)
        for connection, known in sorted(newcomers.values(), key=lambda newcomer: -newcomer[1]):
            _undo(net, changes[known:position])
            position = known
            if net:
                self._delivery.send(connection, self._event(name, net, count))
        _undo(net, changes[:position])
        if net and watchers.members:
            self._delivery.broadcast(watchers, self._event(name, net, count))
            self._delivery.flush(watchers)
        watchers.members |= {key: connection for key, (connection, _) in newcomers.items()}

    def _event(self, name: str, net: Mapping[str, bool], count: int) -> bytes:
        joined: list[str] = []
        left: list[str] = []
        if count <= MAX_LISTED:
            for user_id, has_come in reversed(tuple(net.items())):
                (joined if has_come else left).append(user_id)
        self._sent.value += 1
        data = Presence(name, joined, left, count)
        return self._protocol.serialize(self._protocol.create_envelope("presence", data))


def _undo(net: dict[str, bool], changes: Sequence[tuple[str, bool]]) -> None:
    """Add changes that precede those in `net`: who came and went again, or the other way round, is in it no longer."""
    for user_id, has_come in reversed(changes):
        if net.pop(user_id, None) is None:
            net[user_id] = has_come


def _size(watched: Watched) -> int:
    return ROOM_BYTES + USER_BYTES * len(watched.users)

"""What is known of one room whose members are told of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wsserver.brokers.base import ROOM
from wsserver.connections.state import Connection, Group

ROOM_BYTES: Final = 1500  # what is known of a room besides its users and watchers
USER_BYTES: Final = 200  # a user who is here
ELSEWHERE_BYTES: Final = 300  # a user who is in another process, once for each


class Watched:
    """Who is in a room, in this process and in others.

    `users` counts connections by user id; those who are `lost` have none, and until when they may come back. `watchers`
    are told of all `changes` (a user who came, or else went) since the last time, `newcomers` of those that follow as
    many as they know already. `is_looked_at`: in a while it is seen whether anybody watches still.
    """

    __slots__ = ("_doubles", "changes", "elsewhere", "is_looked_at", "lost", "newcomers", "users", "watchers")

    def __init__(self, name: str, room: Group | None, elsewhere: Mapping[str, int]) -> None:
        self.users: dict[str, int] = {}
        for member in () if room is None else room.members.values():
            user_id = member.principal.user_id
            self.users[user_id] = self.users.get(user_id, 0) + 1
        self.elsewhere = dict(elsewhere)  # in how many other processes a user is
        self._doubles = sum(user_id in self.users for user_id in self.elsewhere)
        self.lost: dict[str, float] = {}
        self.watchers = Group(ROOM, name)
        self.newcomers: dict[str, tuple[Connection, int]] = {}
        self.changes: list[tuple[str, bool]] = []
        self.is_looked_at = False

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to be told."""
        return bool(self.watchers.members or self.newcomers)

    @property
    def count(self) -> int:
        """How many users are there, each counted once."""
        return len(self.users) + len(self.elsewhere) - self._doubles

    @property
    def size(self) -> int:
        """What it takes, in bytes; those who are elsewhere are counted where they are kept."""
        return ROOM_BYTES + USER_BYTES * len(self.users)

    def everyone(self) -> list[str]:
        """Return who is there, first those of this process."""
        return [*self.users, *(user_id for user_id in self.elsewhere if user_id not in self.users)]

    def come(self, user_id: str) -> bool:
        """Take in a user who is new here; returns whether it is new to the room."""
        self.users[user_id] = 0
        is_double = user_id in self.elsewhere
        self._doubles += is_double
        return not is_double

    def go(self, user_id: str) -> bool:
        """Let go of a user who is here no longer; returns whether it has left the room."""
        del self.users[user_id]
        self.lost.pop(user_id, None)
        is_double = user_id in self.elsewhere
        self._doubles -= is_double
        return not is_double

    def move_elsewhere(self, user_id: str, has_come: bool) -> bool:
        """Note that a user came to another process, or went from one; returns whether that is new to the room."""
        processes = self.elsewhere.get(user_id, 0) + (1 if has_come else -1)
        if processes:
            self.elsewhere[user_id] = processes
        else:
            del self.elsewhere[user_id]
        if processes != has_come:
            return False  # it is in another one as well
        is_double = user_id in self.users
        self._doubles += (1 if has_come else -1) if is_double else 0
        return not is_double

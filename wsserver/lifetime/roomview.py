"""What a process knows of a room's users in other processes, each of which has told it so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from wsserver.lifetime.watched import ELSEWHERE_BYTES, ROOM_BYTES

PROCESS_BYTES: Final = 400  # what is known of a process besides its users
UNKNOWN: Final = 0  # the version of what nobody has told

# Is told of a user who has come into the room elsewhere, or is there no longer.
Moved = Callable[[str, bool], None]


class ProcessView:
    """The users whom one process has, as of a version."""

    __slots__ = ("users", "version")

    def __init__(self) -> None:
        self.version = UNKNOWN
        self.users: set[str] = set()


class RoomView:
    """All of them; `is_whole` once every process has answered. `moved` is told of each change."""

    __slots__ = ("_moved", "by_process", "is_whole", "question")

    def __init__(self, moved: Moved) -> None:
        self._moved = moved
        self.by_process: dict[str, ProcessView] = {}
        self.is_whole = False
        self.question: int | None = None  # the one that makes it whole

    @property
    def size(self) -> int:
        """What it takes, in bytes."""
        users = sum(len(view.users) for view in self.by_process.values())
        return ROOM_BYTES + PROCESS_BYTES * len(self.by_process) + ELSEWHERE_BYTES * users

    @property
    def versions(self) -> dict[str, int]:
        """Which version is known of each process."""
        return {process: view.version for process, view in self.by_process.items()}

    @property
    def populated(self) -> int:
        """How many processes have users there."""
        return sum(bool(view.users) for view in self.by_process.values())

    def users(self) -> Mapping[str, int]:
        """Return who is there, and in how many processes."""
        found: dict[str, int] = {}
        for view in self.by_process.values():
            for user_id in view.users:
                found[user_id] = found.get(user_id, 0) + 1
        return found

    def replace(self, process: str, version: int, users: Iterable[str]) -> None:
        """Take in all users of a process."""
        view = self.by_process.setdefault(process, ProcessView())
        now = set(users)
        before, view.users, view.version = view.users, now, version
        for user_id in now - before:
            self._moved(user_id, True)
        for user_id in before - now:
            self._moved(user_id, False)

    def change(self, view: ProcessView, version: int, joined: Iterable[str], left: Iterable[str]) -> None:
        """Take in what has changed since the version that is known."""
        view.version = version
        for user_id in joined:
            if user_id not in view.users:
                view.users.add(user_id)
                self._moved(user_id, True)
        for user_id in left:
            if user_id in view.users:
                view.users.remove(user_id)
                self._moved(user_id, False)

    def drop(self, process: str) -> None:
        """Forget a process, and that anybody was there."""
        for user_id in self.by_process.pop(process, ProcessView()).users:
            self._moved(user_id, False)

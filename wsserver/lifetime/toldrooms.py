"""The rooms of this process that others watch: they are told of what changes here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from wsserver.brokers.base import Broker
from wsserver.lifetime.presence import PresenceWatch
from wsserver.lifetime.presencenotes import Changes, Hello, MembersHere, WhoIsThere, pack
from wsserver.lifetime.roomview import UNKNOWN
from wsserver.lifetime.watched import ROOM_BYTES, USER_BYTES

ANNOUNCE_S: Final = 0.05  # what changes here is gathered for so long, and then again where it is watched
TOLD_S: Final = 50.0  # who was not heard of for so long does not watch any more


class _Told:
    """A room that others watch: until when, which version they have, and what they are to be told next."""

    __slots__ = ("unsent", "until_s", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.until_s = 0.0
        self.unsent: dict[str, bool] = {}


class ToldRooms:
    """Answers questions, and tells whoever has put one of what changes from then on, for a while."""

    __slots__ = ("_broker", "_call_later", "_endings", "_free", "_local", "_now_s", "_rooms", "_versions")

    def __init__(
        self,
        broker: Broker,
        local: PresenceWatch,
        *,
        call_later: Callable[..., Any],
        now_s: Callable[[], float],
        free: Callable[[], int],
    ) -> None:
        self._broker = broker
        self._local = local
        self._call_later = call_later
        self._now_s = now_s
        self._free = free
        self._versions = count(UNKNOWN + 1)  # of all rooms, so that none has the same one twice
        self._rooms: dict[str, _Told] = {}
        self._endings: deque[tuple[float, str, _Told]] = deque()

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    @property
    def names(self) -> set[str]:
        """Return which rooms those are."""
        return set(self._rooms)

    def changed(self, room: str, user_id: str, has_come: bool) -> None:
        """Note that a user is in a room here, or is not any longer."""
        told = self._rooms.get(room)
        if told is not None:
            if not told.unsent:
                self._call_later(ANNOUNCE_S, self._announce, room)
            told.unsent[user_id] = has_come

    def forget(self, room: str) -> None:
        """Note that nobody is in a room here any more."""
        self._announce(room)
        self._rooms.pop(room, None)

    def answer(self, asked: WhoIsThere) -> None:
        """Tell another process who is in a room here, if it does not know."""
        version = UNKNOWN
        users = self._local.here(asked.room)
        if asked.watches and users:
            version = self._tell_from_now_on(asked.room, len(users))
        known = asked.versions.get(self._broker.process, UNKNOWN)
        if asked.number or known != version:
            news = None if known == version != UNKNOWN else users
            answer = MembersHere(self._broker.process, asked.number, asked.room, version, news)
            self._broker.tell(pack(answer), room=asked.room, process=asked.process)

    def tell_again(self) -> None:
        """Have others ask anew: what they were told may not have reached them."""
        for room, told in self._rooms.items():
            told.version = next(self._versions)
            self._broker.tell(pack(Hello(self._broker.process, room)), room=room)

    def check(self) -> None:
        """Let go of rooms that nobody asks for any more."""
        now_s = self._now_s()
        while self._endings and self._endings[0][0] <= now_s:
            _, room, told = self._endings.popleft()
            if self._rooms.get(room) is not told:
                continue
            if told.until_s > now_s:
                self._endings.append((told.until_s, room, told))
                continue
            del self._rooms[room]
            self._local.keep_no_longer(room)

    def _tell_from_now_on(self, room: str, users: int) -> int:
        """Tell others of what changes in a room; returns the version that they are to know."""
        told = self._rooms.get(room)
        if told is None:
            told = _Told(next(self._versions))
            if not self._local.is_kept(room) and self._free() < ROOM_BYTES + USER_BYTES * users:
                return told.version  # they are told whenever they ask again
            self._rooms[room] = told
            self._local.keep(room)
            self._endings.append((self._now_s() + TOLD_S, room, told))
        told.until_s = self._now_s() + TOLD_S
        return told.version

    def _announce(self, room: str) -> None:
        told = self._rooms.get(room)
        if told is None or not told.unsent:
            return
        unsent, told.unsent = told.unsent, {}
        previous, told.version = told.version, next(self._versions)
        joined = [user_id for user_id, has_come in unsent.items() if has_come]
        left = [user_id for user_id, has_come in unsent.items() if not has_come]
        changes = Changes(self._broker.process, room, previous, told.version, joined, left)
        self._broker.tell(pack(changes), room=room)

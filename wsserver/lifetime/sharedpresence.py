"""Who is in rooms, over all processes that share a broker (design section 8).

A process that watches a room asks all that are in it, and is told of what changes there; a room that nobody watches
costs a word when a process comes into it. Nothing is stored: whoever missed something asks again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from wsserver.brokers.base import ROOM, Broker, NotPublished, NotPublishedError
from wsserver.lifetime.presence import LINGER_S, PresenceWatch
from wsserver.lifetime.presencenotes import Beat, Bye, Changes, Hello, MembersHere, Note, WhoIsThere, pack, unpack
from wsserver.lifetime.questions import Questions
from wsserver.lifetime.roomview import UNKNOWN, RoomView
from wsserver.lifetime.toldrooms import ToldRooms
from wsserver.lifetime.watched import ELSEWHERE_BYTES
from wsserver.telemetry.metrics import Metrics

BEAT_S: Final = 5.0
MAX_MISSED: Final = 3  # beats of one that is silent: at the next one it is dead
RENEW_S: Final = 15.0  # who watches a room says so again, and what it knows
STALL_S: Final = 10.0  # who stood still for so long may be taken for dead
BYE_USERS: Final = 2000  # in one note
_AWAY: Final = NotPublished("the broker is not reached", False)


class SharedPresence:
    """The other processes, as far as their members are known here; `check` it about once a second.

    `free` returns how many bytes may be taken yet. `now_s` is monotonic.
    """

    def __init__(
        self,
        broker: Broker,
        local: PresenceWatch,
        metrics: Metrics,
        *,
        call_later: Callable[..., Any],
        now_s: Callable[[], float],
        free: Callable[[], int],
    ) -> None:
        self._broker = broker
        self._own = broker.process
        self._local = local
        self._call_later = call_later
        self._now_s = now_s
        self._free = free
        self._unlisted = metrics.presence_unlisted
        self._unreadable = metrics.unreadable_orders
        self._told = ToldRooms(broker, local, call_later=call_later, now_s=now_s, free=free)
        self._questions = Questions(call_later)
        self._views: dict[str, RoomView] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}  # who waits for a view to be whole
        self._renewals: deque[tuple[float, str, RoomView]] = deque()
        self._missed: dict[str, int] = {}  # how many beats ago a process was heard
        self._parting: dict[str, dict[str, list[str]]] = {}  # those who may come back, of processes that have ended
        self._beat_s = self._checked_s = now_s()
        self._beats = self._heard_beat = 0
        self.used = 0
        broker.attach_peers(self)
        local.neighbours = self

    def users(self, room: str) -> Mapping[str, int]:
        """Return who is in a room elsewhere, and in how many processes."""
        view = self._views.get(room)
        return {} if view is None else view.users()

    def is_told(self, room: str) -> bool:
        """Whether others are told of who is in a room here."""
        return room in self._told

    def changed(self, room: str, user_id: str, has_come: bool) -> None:
        """Note that a user is in a room here, or is not any longer."""
        self._told.changed(room, user_id, has_come)

    def forgotten(self, room: str) -> None:
        """Note that nobody is in a room here any more, or nobody wants to know."""
        self._told.forget(room)

    async def ready(self, room: str) -> None:
        """Wait until all processes have said who is in a room; raises TimeoutError if they cannot be asked."""
        while True:
            view = self._views.get(room) or self._look_at(room)
            if view.is_whole:
                return  # and it is watched in the same turn, or it might be let go of
            if view.question is None and not self._fill(room, view):
                raise TimeoutError(_AWAY.problem)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(room, []).append(future)
            await future

    async def members(self, room: str) -> list[str]:
        """Return who is in a room, here and elsewhere; raises NotPublishedError if the others cannot be asked."""
        view = self._views.get(room)
        found: Iterable[str] | None = None
        if not self._broker.reaches(ROOM, room):
            pass
        elif view is not None and view.is_whole:
            found = view.users()
        else:
            future: asyncio.Future[set[str] | None] = asyncio.get_running_loop().create_future()

            def put(number: int, reached: Callable[[int], None]) -> bool:
                return self._broker.tell(
                    pack(WhoIsThere(self._own, number, room, False, {})), room=room, reached=reached
                )

            def answered(users: set[str] | None) -> None:
                if not future.done():
                    future.set_result(users)

            if self._questions.ask(put, answered) is not None:
                found = await future
        if found is None:
            raise NotPublishedError(_AWAY)
        parting = (user_id for rooms in self._parting.values() for user_id in rooms.get(room, ()))
        return list(dict.fromkeys((*self._local.here(room), *found, *parting)))

    def check(self) -> None:
        """Say that this process lives, and what it watches; called about once a second."""
        now_s = self._now_s()
        if now_s - self._checked_s > STALL_S:
            self.reached()
        self._checked_s = now_s
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s if now_s - self._beat_s > 2 * BEAT_S else self._beat_s + BEAT_S
            self._beats += 1
            self._broker.tell(pack(Beat(self._own, self._beats)))
        while self._renewals and self._renewals[0][0] <= now_s:
            _, room, view = self._renewals.popleft()
            if self._views.get(room) is view:
                self._renew(room, view)
        self._told.check()

    def leave(self) -> None:
        """Say goodbye: this process ends, and whoever was here may come back elsewhere."""
        rooms: dict[str, list[str]] = {}
        size = 0
        for room in self._told.names | self._views.keys():
            users = self._local.here(room)
            for start in range(0, len(users), BYE_USERS):
                rooms[room] = users[start : start + BYE_USERS]
                size += len(rooms[room])
                if size >= BYE_USERS:
                    self._broker.tell(pack(Bye(self._own, rooms)))
                    rooms, size = {}, 0
        self._broker.tell(pack(Bye(self._own, rooms)))

    def take(self, note: bytes) -> None:
        """Take what a process has said."""
        try:
            said = unpack(note)
        except msgspec.DecodeError:
            self._unreadable.value += 1
            return
        if said.process != self._own:
            if said.process in self._missed:
                self._missed[said.process] = 0
            _ACTS[type(said)](self, said)
        elif isinstance(said, WhoIsThere):
            self._questions.answered(said.number, None)  # who is here is known
        elif isinstance(said, Beat) and said.number > self._heard_beat:
            self._heard_beat = said.number
            self._count_missed()

    def entered(self, room: str) -> None:
        """Have those ask who watch a room that this process is in now."""
        self._broker.tell(pack(Hello(self._own, room)), room=room)

    def resubscribed(self, room: str) -> None:
        """Ask again who is in a room of which nothing was heard for a while."""
        view = self._views.get(room)
        if view is not None:
            view.is_whole = False
            self._fill(room, view)

    def unsubscribed(self, room: str) -> None:
        """Forget what is not told any more."""
        view = self._views.pop(room, None)
        if view is not None:
            self.used -= view.size
            for process in tuple(view.by_process):
                view.drop(process)
            self._wake(room, None)

    def reached(self) -> None:
        """Tell again what may have reached nobody, and ask what was not answered."""
        self._told.tell_again()
        for room, view in tuple(self._views.items()):
            if not view.is_whole:
                self._fill(room, view)

    def holds(self, room: str) -> bool:
        """Whether somebody may come back to a room, and others ask for it until then."""
        return self._local.is_kept(room)

    def _look_at(self, room: str) -> RoomView:
        view = self._views[room] = RoomView(partial(self._local.moved_elsewhere, room))
        self.used += view.size
        self._renewals.append((self._now_s() + RENEW_S, room, view))
        for process, rooms in self._parting.items():
            if room in rooms:
                self._replace(view, process, UNKNOWN, rooms[room])
        return view

    def _fill(self, room: str, view: RoomView) -> bool:
        """Ask all who are in a room, so that its view becomes whole; returns whether they are asked."""

        def filled(users: set[str] | None) -> None:
            if view.question != number or self._views.get(room) is not view:
                return  # it is asked anew, or not wanted any more
            view.question = None
            view.is_whole = users is not None
            self._wake(room, None if view.is_whole else TimeoutError(_AWAY.problem))
            if view.is_whole:
                self._local.tell_all(room)  # who watches it already did not hear of some changes

        number = view.question = self._questions.ask(partial(self._watch, room, view), filled)
        if number is None:
            self._wake(room, TimeoutError(_AWAY.problem))
        return number is not None

    def _wake(self, room: str, error: TimeoutError | None) -> None:
        for future in self._waiting.pop(room, ()):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _watch(self, room: str, view: RoomView, number: int = 0, reached: Callable[[int], None] | None = None) -> bool:
        """Ask all who are in a room; one that is in it no longer, and whose last word may be lost, is asked by name."""

        def heard(processes: int) -> None:
            if reached is not None:
                reached(processes)
            if self._views.get(room) is view and processes <= view.populated:  # this process is one of them
                for process in view.by_process:
                    self._ask_one(process, room, view)

        versions = {} if number else view.versions
        return self._broker.tell(pack(WhoIsThere(self._own, number, room, True, versions)), room=room, reached=heard)

    def _renew(self, room: str, view: RoomView) -> None:
        if view.question is None and not self._local.is_watched(room):
            self.unsubscribed(room)
            return
        self._renewals.append((self._now_s() + RENEW_S, room, view))
        if view.is_whole:
            self._watch(room, view)
        elif view.question is None:
            self._fill(room, view)

    def _count_missed(self) -> None:
        """Count the others' beats by the own ones: where those do not come, nobody's do."""
        for process in tuple(self._missed):
            self._missed[process] += 1
            if self._missed[process] > MAX_MISSED:
                self._drop(process)

    def _drop(self, process: str) -> None:
        self._missed.pop(process, None)
        for users in self._parting.pop(process, {}).values():
            self.used -= ELSEWHERE_BYTES * len(users)
        for view in self._views.values():
            if process in view.by_process:
                self.used -= view.size
                view.drop(process)
                self.used += view.size

    def _hello(self, said: Hello) -> None:
        view = self._views.get(said.room)
        if view is not None:
            self._ask_one(said.process, said.room, view)

    def _ask_one(self, process: str, room: str, view: RoomView) -> None:
        self._broker.tell(pack(WhoIsThere(self._own, 0, room, True, view.versions)), room=room, process=process)

    def _question(self, said: WhoIsThere) -> None:
        self._told.answer(said)

    def _members(self, said: MembersHere) -> None:
        view = self._views.get(said.room)
        if view is not None and said.users is not None:
            self._replace(view, said.process, said.version, said.users)
        self._questions.answered(said.number, said.users)

    def _changes(self, said: Changes) -> None:
        view = self._views.get(said.room)
        if view is None:
            return
        known = view.by_process.get(said.process)
        if known is not None and known.version == said.previous:
            joined = self._listed(said.joined)
            self.used -= view.size
            view.change(known, said.version, joined, said.left)
            self.used += view.size
        elif view.is_whole:  # else it is still to answer
            self._ask_one(said.process, said.room, view)

    def _replace(self, view: RoomView, process: str, version: int, users: list[str]) -> None:
        if users:
            self._missed.setdefault(process, 0)
        elif process not in view.by_process:
            return
        known = view.by_process.get(process)
        listed = self._listed(users, 0 if known is None else ELSEWHERE_BYTES * len(known.users))
        self.used -= view.size
        view.replace(process, version, listed)
        self.used += view.size

    def _listed(self, users: list[str], freed: int = 0) -> list[str]:
        """Return those for whom there is room, besides what is `freed` by them; the others are counted."""
        most = max(0, self._free() + freed) // ELSEWHERE_BYTES
        self._unlisted.value += max(0, len(users) - most)
        return users[:most]

    def _beat(self, said: Beat) -> None:
        """Whoever says anything lives."""

    def _bye(self, said: Bye) -> None:
        if said.process not in self._parting:
            self._parting[said.process] = {}
            self._call_later(LINGER_S, self._drop, said.process)
        parting = self._parting[said.process]
        for room, users in said.rooms.items():
            known = parting.get(room, [])
            listed = self._listed([user_id for user_id in users if user_id not in set(known)])
            parting[room] = [*known, *listed]
            self.used += ELSEWHERE_BYTES * len(listed)
            view = self._views.get(room)
            if view is not None and view.versions.get(said.process, UNKNOWN) == UNKNOWN:
                self._replace(view, said.process, UNKNOWN, parting[room])  # it is asked, and answers no more


_ACTS: Final[dict[type[Note], Callable[[SharedPresence, Any], None]]] = {
    Hello: SharedPresence._hello,
    WhoIsThere: SharedPresence._question,
    MembersHere: SharedPresence._members,
    Changes: SharedPresence._changes,
    Beat: SharedPresence._beat,
    Bye: SharedPresence._bye,
}

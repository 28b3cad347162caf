"""What a client has read of its session and its rooms, and how it comes back to them (design section 4)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final, TypeVar

import msgspec

from wsclient.errors import ServerError
from wsclient.events import Doubled, Gap, GroupEvent, Lost, Replayed, Resumed, RoomRefused
from wsclient.replies import server_error
from wscore.counting import EventCounter, EventPlace
from wscore.envelope import Envelope, InvalidMessageError, decode_data
from wscore.payloads import HistoryLost, RoomJoin, RoomJoined, RoomLeave, RoomLeft, RoomRecovery, SessionRecovery
from wscore.recovery import Position

T = TypeVar("T")

_SEQ_MARK: Final = '"seq"'


class Step(Enum):
    """What to do with a frame that came in."""

    TAKE = "hand it to who reads"
    DROP = "nobody shall see it"
    RESUME = "drop it, and connect again: events of the session are missing before it"
    REJOIN = "drop it, and join its room again: events of the room are missing before it"


TAKE: Final = Step.TAKE  # what is done with nearly every frame
_OF_GROUPS: Final = frozenset(("room.joined", "room.left", "recovery", "error"))


class _Sequenced(msgspec.Struct):
    seq: int | None = None


class _Group:
    """A session, or a room, and how far it was read."""

    __slots__ = (
        *("counter", "gap_at", "is_asked_again", "is_left", "is_wanted"),
        *("presence", "replay_until_ms", "room", "was_joined"),
    )

    def __init__(self, room: str | None = None, *, is_wanted: bool = False) -> None:
        self.room = room
        self.counter = EventCounter()
        self.is_wanted = is_wanted  # the client asked for it, and does so again after a loss; an app may put it in too
        self.is_left = self.was_joined = False
        self.is_asked_again = False
        self.presence = False
        self.gap_at: Position | None = None
        self.replay_until_ms = 0


class Following:
    """Counts what comes by the session and by each room; `tell` hears what there is to know of that.

    `rooms` are joined after every greeting. Without `can_resume` a gap is a loss: nothing can be asked for again.
    """

    def __init__(self, rooms: Iterable[str], tell: Callable[[GroupEvent], None], *, can_resume: bool) -> None:
        self._tell = tell
        self._can_resume = can_resume
        self._session = _Group()
        self._rooms = {room: _Group(room, is_wanted=True) for room in rooms}
        self._resume_token = ""
        self._prefix = uuid.uuid4().hex[:8]
        self._asks = 0
        self._asked: dict[str, str] = {}  # rooms by the id of a join of ours that is not answered yet
        self._joins: dict[str, RoomJoin] = {}  # of whoever uses the client
        self._replaying: _Group | None = None
        self._replayed = 0

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms in which the client is, or into which it wants to come back."""
        return tuple(room for room, group in self._rooms.items() if not group.is_left)

    @property
    def is_joining(self) -> bool:
        """Whether a join of ours is not answered yet."""
        return bool(self._asked)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The rooms that the client wants to be in, of which the server did not say if it lets us in."""
        asked = set(self._asked.values())
        return tuple(
            name for name, room in self._rooms.items() if room.is_wanted and (name in asked or not room.was_joined)
        )

    @property
    def resume_fields(self) -> dict[str, str]:
        """What the URL says to go on where the session was read to, nothing if it has not been read yet."""
        held = self._session.counter.position
        return {} if held is None else {"epoch": held.epoch, "seq": str(held.seq), "resume": self._resume_token}

    def joins(self) -> Iterator[tuple[str, RoomJoin]]:
        """Yield the joins that are due after a greeting, each with its id."""
        for group in self._rooms.values():
            if group.is_wanted:
                yield self._ask(group)

    def rejoin(self, room: str) -> tuple[tuple[str, RoomLeave], tuple[str, RoomJoin]]:
        """Return what closes a gap of a room: leave, and join where it was read to; each with its id."""
        group = self._rooms[room]
        group.is_asked_again = True
        return (self._new_id(), RoomLeave(room)), self._ask(group)

    def greeted(self, recovery: SessionRecovery | None, at_ms: int) -> None:
        """Take what a greeting says of the session; `at_ms` is its time on the server's clock."""
        self._resume_token = "" if recovery is None else recovery.resume_token
        self._begin(self._session, recovery, at_ms)

    def closed(self) -> None:
        """Note that the connection is gone."""
        self._end_replay()
        self._asked.clear()
        self._joins.clear()
        self._rooms = {room: group for room, group in self._rooms.items() if not group.is_left}
        for group in self._rooms.values():
            group.is_asked_again = False

    def sent(self, envelope: Envelope) -> None:
        """Note a join or a leave that whoever uses the client has sent."""
        if envelope.type == "room.join" and not self._is_own(envelope.id):
            join = _decoded(envelope, RoomJoin)
            if join is not None:
                self._joins[join.room] = join
        elif envelope.type == "room.leave" and not self._is_own(envelope.id):
            leave = _decoded(envelope, RoomLeave)
            if leave is not None and leave.room in self._rooms:
                group = self._rooms[leave.room]
                group.is_left, group.is_wanted = True, False

    def take(self, envelope: Envelope, text: str) -> Step:
        """Tell what to do with an envelope that came in, `text` on the wire, and count it."""
        if _SEQ_MARK in text and (seq := _seq_of(text)) is not None:
            return self._count(envelope, seq)
        if self._replaying is not None:
            self._end_replay()
        if envelope.type in _OF_GROUPS:
            self._take_news(envelope)
        return TAKE

    def _take_news(self, envelope: Envelope) -> None:
        match envelope.type:
            case "room.joined":
                self._joined(envelope)
            case "room.left":
                self._left(envelope)
            case "recovery":
                self._restarted(envelope)
            case "error" if envelope.id in self._asked:
                self._refused(self._asked.pop(envelope.id), envelope)

    def _count(self, envelope: Envelope, seq: int) -> Step:
        room = envelope.room
        group = self._session if room is None else self._rooms.get(room)
        taken = Step.DROP if envelope.type == "skipped" else Step.TAKE
        if group is not self._replaying:
            self._end_replay()
        if group is None or (held := group.counter.position) is None:
            return taken
        if group.is_asked_again and seq > held.seq:
            return Step.DROP  # it is in the replay, which has not begun
        match group.counter.place(seq):
            case EventPlace.SEEN:
                self._tell(Doubled(room, seq))
                return Step.DROP
            case EventPlace.GAP:
                if self._can_resume and group.gap_at != held:
                    group.gap_at = held
                    self._tell(Gap(room, held.seq + 1, seq - 1))
                    return Step.RESUME if room is None else Step.REJOIN
                group.counter.begin(Position(held.epoch, seq), recovered=False)
                self._tell(Lost(room, held.epoch, seq))
        self._note_replay(group, envelope.timestamp)
        return taken

    def _note_replay(self, group: _Group, at_ms: int) -> None:
        """Count an event that happened before the greeting, or before the room was joined; later ones are new."""
        if at_ms < group.replay_until_ms:
            self._replaying = group
            self._replayed += 1
        else:
            group.replay_until_ms = 0
            self._end_replay()

    def _end_replay(self) -> None:
        if self._replaying is not None:
            group, self._replaying = self._replaying, None
            count, self._replayed = self._replayed, 0
            self._tell(Replayed(group.room, count))

    def _begin(self, group: _Group, recovery: SessionRecovery | RoomRecovery | None, at_ms: int) -> None:
        """Count from where the server stands; what it keeps no history of is not counted."""
        counter = group.counter
        if recovery is None:
            held, counter.position = counter.position, None
            if held is not None:
                self._tell(Lost(group.room, held.epoch, held.seq))
            return
        position = Position(recovery.epoch, recovery.seq)
        if counter.begin(position, recovery.recovered):
            self._tell(Lost(group.room, *position))
        elif recovery.recovered:
            group.replay_until_ms = at_ms
            self._tell(Resumed(group.room, *position))

    def _joined(self, envelope: Envelope) -> None:
        joined = _decoded(envelope, RoomJoined)
        if joined is None:
            return
        if envelope.id is not None:
            self._asked.pop(envelope.id, None)
        group = self._rooms.get(joined.room)
        if group is None or group.is_left:
            group = self._rooms[joined.room] = _Group(joined.room)
        join = self._joins.pop(joined.room, None)
        if join is not None:
            group.is_wanted = True
            group.presence = group.presence or join.presence
        group.is_asked_again, group.was_joined = False, True
        self._begin(group, joined.recovery, envelope.timestamp)

    def _left(self, envelope: Envelope) -> None:
        left = _decoded(envelope, RoomLeft)
        if left is None or self._is_own(envelope.id):
            return
        self._rooms.pop(left.room, None)

    def _restarted(self, envelope: Envelope) -> None:
        lost = _decoded(envelope, HistoryLost)
        group = None if lost is None else self._session if lost.room is None else self._rooms.get(lost.room)
        if lost is not None and group is not None:
            group.counter.begin(Position(lost.epoch, lost.seq), lost.recovered)
            self._tell(Lost(lost.room, lost.epoch, lost.seq))

    def _refused(self, room: str, envelope: Envelope) -> None:
        try:
            error = server_error(envelope)
        except InvalidMessageError:
            error = ServerError("?", "", retryable=False)
        self._rooms.pop(room, None)
        self._tell(RoomRefused(room, error.code, error.message))

    def _ask(self, group: _Group) -> tuple[str, RoomJoin]:
        assert group.room is not None
        ask_id, held = self._new_id(), group.counter.position
        self._asked[ask_id] = group.room
        asked = None if held is None else {"epoch": held.epoch, "seq": held.seq}
        return ask_id, RoomJoin(group.room, group.presence, asked)

    def _new_id(self) -> str:
        self._asks += 1
        return f"{self._prefix}-{self._asks}"

    def _is_own(self, id: str | None) -> bool:
        return id is not None and id.startswith(self._prefix)


def _seq_of(text: str) -> int | None:
    try:
        return msgspec.json.decode(text, type=_Sequenced).seq
    except (msgspec.DecodeError, RecursionError):
        return None


def _decoded(envelope: Envelope, wanted: type[T]) -> T | None:
    try:
        return decode_data(envelope.data, wanted)
    except InvalidMessageError:
        return None

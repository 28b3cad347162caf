"""What happens to a connection, as it stands in a recording: opened, closed, coming back, and what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from wsclient.errors import describe_close
from wsclient.events import (
    Closed,
    Doubled,
    Event,
    Gap,
    GroupEvent,
    Lost,
    Opened,
    Reconnecting,
    Replayed,
    Resumed,
    RoomRefused,
)
from wscore.codes import CloseCode


class HappeningKind(StrEnum):
    """The value of `event` in a line of a recording."""

    OPENED = "opened"
    CLOSED = "closed"
    RECONNECTING = "reconnecting"
    RECONNECTED = "reconnected"
    GAP = "gap"
    RESUMED = "resumed"
    REPLAYED = "replayed"
    LOST = "lost"
    MISSING = "missing"
    DOUBLED = "doubled"
    ROOM_REFUSED = "room refused"


_OF_GROUPS: Final[dict[type, HappeningKind]] = {
    Resumed: HappeningKind.RESUMED,
    Replayed: HappeningKind.REPLAYED,
    Lost: HappeningKind.LOST,
    Gap: HappeningKind.MISSING,
    Doubled: HappeningKind.DOUBLED,
    RoomRefused: HappeningKind.ROOM_REFUSED,
}
_FIELDS: Final = {"first_seq": "firstSeq", "last_seq": "lastSeq"}


class Happening(Struct, frozen=True):
    """One of them, when (wall-clock ms), with what is known of it; `fields` are JSON."""

    kind: str
    at_ms: int
    fields: Mapping[str, object] = {}

    def __str__(self) -> str:
        fields = self.fields
        match self.kind:
            case HappeningKind.OPENED | HappeningKind.RECONNECTED:
                who = f" as {fields['userId']}, session {fields['sessionId']}" if "userId" in fields else ""
                return self.kind + who
            case HappeningKind.CLOSED:
                code = fields.get("code")
                words = describe_close(code, str(fields.get("reason", ""))) if isinstance(code, int) else "?"
                return f"closed {words}"
            case HappeningKind.RECONNECTING:
                return f"reconnecting (try {fields.get('attempt')}): {fields.get('problem')}"
            case HappeningKind.GAP:
                return f"a gap of {fields.get('awayMs')} ms: what was sent meanwhile may be missing"
            case _:
                return self._of_group() or self.kind

    def _of_group(self) -> str | None:
        """What it says of the session or a room, None if it is of another kind."""
        fields = self.fields
        who = f"room {fields['room']}" if "room" in fields else "the session"
        match self.kind:
            case HappeningKind.RESUMED:
                return f"{who} goes on behind {fields.get('seq')}"
            case HappeningKind.REPLAYED:
                count = fields.get("count")
                return f"{who}: {count} missed message{'' if count == 1 else 's'} came after all"
            case HappeningKind.LOST:
                return f"{who}: messages are lost; it goes on at {fields.get('seq')}"
            case HappeningKind.MISSING:
                first, last = fields.get("firstSeq"), fields.get("lastSeq")
                which = f"{first} is" if first == last else f"{first} to {last} are"
                return f"{who}: {which} missing, and asked for again"
            case HappeningKind.DOUBLED:
                return f"{who}: {fields.get('seq')} came twice, and was dropped"
            case HappeningKind.ROOM_REFUSED:
                return f"{who} did not let us in: {fields.get('code')}: {fields.get('reason')}"
            case _:
                return None


def happening_of(event: GroupEvent, at_ms: int) -> Happening:
    """Return what is known of a session or a room as it stands in a recording."""
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    told = {_FIELDS.get(name, name): value for name, value in values.items() if value is not None}
    return Happening(_OF_GROUPS[type(event)], at_ms, told)


class Happenings:
    """Follows a client's events, and says what stands in a recording of them."""

    __slots__ = ("_closed_at_ms", "_is_open")

    def __init__(self) -> None:
        self._is_open = False
        self._closed_at_ms: int | None = None

    def of(self, event: Event, at_ms: int) -> Iterator[Happening]:
        """Yield what an event means; a message is none."""
        match event:
            case Opened(session):
                who: dict[str, object] = {}
                if session is not None:
                    who = {"sessionId": session.session_id, "userId": session.user_id}
                    who["connectionId"] = session.connection_id
                away_since_ms, self._closed_at_ms, self._is_open = self._closed_at_ms, None, True
                if away_since_ms is None:
                    yield Happening(HappeningKind.OPENED, at_ms, who)
                    return
                yield Happening(HappeningKind.RECONNECTED, at_ms, who)
                # A server that was asked where to go on says what was missed.
                if session is None or session.recovery is None or session.recovery.recovered is None:
                    yield Happening(HappeningKind.GAP, at_ms, {"awayMs": at_ms - away_since_ms})
            case Closed(code, reason):
                yield self._closed(at_ms, code, reason)
            case Reconnecting(attempt, delay_ms, problem):
                fields = {"attempt": attempt, "delayMs": delay_ms, "problem": problem}
                yield Happening(HappeningKind.RECONNECTING, at_ms, fields)
            case GroupEvent():
                yield happening_of(event, at_ms)

    def ended(self, at_ms: int) -> Iterator[Happening]:
        """Yield that an open connection was closed from our side."""
        if self._is_open:
            yield self._closed(at_ms, CloseCode.NORMAL, "")

    def _closed(self, at_ms: int, code: int, reason: str) -> Happening:
        self._is_open, self._closed_at_ms = False, at_ms
        return Happening(HappeningKind.CLOSED, at_ms, {"code": code, "reason": reason})

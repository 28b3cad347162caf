"""A storm: all connections are cut at once, and come back; what each missed of its session is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from loadtest.generator.connections import TEXT, LoadConnection, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.scenarios.heartbeat import HeartbeatConnection, HeartbeatTraffic, RoundTripScenario
from loadtest.summary import Summary
from loadtest.wire import Plan, RecoveryLedger
from wscore.counting import EventCounter, EventPlace
from wscore.envelope import decode_data
from wscore.errors import WsctlError
from wscore.payloads import HistoryLost
from wscore.recovery import Position
from wscore.units import counted_noun

MISSED: Final = 3  # messages that a connection sends just before it is cut: their echoes find nobody
_WORD: Final = "wsctl-loadtest-"
_MARKS: Final = (b'"seq"', _WORD.encode())


class CountedEvent(msgspec.Struct, gc=False):
    """What is read of an event of a session, or of the answer to a message that the load sent into one."""

    type: str
    timestamp: float = 0
    id: str | None = None
    room: str | None = None
    seq: int | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode_event: Final = msgspec.json.Decoder(CountedEvent).decode


class ReconnectTraffic(HeartbeatTraffic):
    """Pings, and a few messages around the storm, in sessions that can be resumed."""

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self.said = 0
        self.is_heard = True  # until the server refuses a message

    def new_connection(self, slot: int, index: int) -> HeartbeatConnection:
        return ReconnectConnection(self, slot, index)


class ReconnectConnection(HeartbeatConnection):
    """Counts the events of its session, over all connections of its slot.

    It says something when it is ready, `MISSED` times just before it is cut, and when it is back: the echo of that
    proves that nothing is missing before it.
    """

    __slots__ = ("_awaited", "_counter", "_greeted_at_ms", "_is_replaying")

    traffic: ReconnectTraffic

    def __init__(self, traffic: ReconnectTraffic, slot: int, index: int) -> None:
        super().__init__(traffic, slot, index)
        self._counter = EventCounter()
        self._awaited = b""  # what it said when it was back, until that comes
        self._greeted_at_ms = 0.0  # on the server's clock
        self._is_replaying = False

    def follow(self, before: LoadConnection) -> None:
        assert isinstance(before, ReconnectConnection)
        self._counter = before._counter

    def resume_fields(self) -> dict[str, str]:
        fields, held = super().resume_fields(), self._counter.position
        return fields | {"epoch": held.epoch, "seq": str(held.seq)} if fields and held is not None else fields

    def ready(self) -> None:
        super().ready()
        traffic, held = self.traffic, self._counter.position
        if held is not None:
            traffic.counts.resumes += 1
        if not self._begin(held):
            return
        word = self._say()
        if held is not None and word:
            self._awaited = word
            traffic.counts.awaited += 1
            asyncio.get_running_loop().call_later(traffic.plan.reply_timeout_s, self._wait_no_more)

    def cut(self) -> None:
        if self.is_open and self._counter.position is not None:
            for _ in range(MISSED):
                self._say()
        super().cut()

    def text(self, payload: bytes) -> None:
        if any(mark in payload for mark in _MARKS):
            try:
                event = _decode_event(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # which is told like any other text that is no envelope
            else:
                if self._is_taken(event):
                    return
        super().text(payload)

    def _begin(self, held: Position | None) -> bool:
        """Count from where the greeting says; tells whether there is anything to count."""
        recovery = self.session_info.recovery if self.session_info is not None else None
        counts, counter = self.traffic.counts, self._counter
        if recovery is None or recovery.epoch is None or recovery.seq is None:
            counts.unrecovered += held is not None
            counter.position = None
            return False
        position = Position(str(recovery.epoch), recovery.seq)
        if recovery.recovered is False:
            counts.unrecovered += held is not None
        elif held is not None:
            self._is_replaying = bool(recovery.recovered)
            counts.events_lost += _missing(held, position)  # since nothing was said of them
        counter.begin(position, recovery.recovered)
        return True

    def _is_taken(self, event: CountedEvent) -> bool:
        """Count an event of the session, or what became of a message of its own; False for anything else."""
        if event.type == "session_created":
            self._greeted_at_ms = event.timestamp
            return False
        if event.type == "error" and (event.id or "").startswith(_WORD):
            self.traffic.is_heard = False
            self._wait_no_more()
            return True
        if event.room is not None:
            return False
        if event.type == "recovery":
            return self._has_restarted(event)
        if event.seq is not None and (held := self._counter.position) is not None:
            self._count(event, event.seq, held)
        return event.seq is not None

    def _count(self, event: CountedEvent, seq: int, held: Position) -> None:
        counts, counter = self.traffic.counts, self._counter
        match counter.place(seq):
            case EventPlace.SEEN:
                counts.events_doubled += 1
                return
            case EventPlace.GAP:
                counts.events_lost += seq - held.seq - 1
                counter.begin(Position(held.epoch, seq), None)
        counts.events += 1
        is_last = bool(self._awaited) and bytes(event.data) == b'"%s"' % self._awaited
        # What happened before the greeting is a replay, and what this connection said behind it is none.
        self._is_replaying = self._is_replaying and not is_last and event.timestamp <= self._greeted_at_ms
        counts.replayed += self._is_replaying
        if is_last:
            counts.events_confirmed += 1
            self._wait_no_more()

    def _has_restarted(self, event: CountedEvent) -> bool:
        try:
            lost = decode_data(event.data, HistoryLost)
        except WsctlError:
            return False
        if lost.room is None:
            self._counter.begin(Position(lost.epoch, lost.seq), lost.recovered)
            self.traffic.counts.unrecovered += 1
        return True

    def _say(self) -> bytes:
        """Send a message to the session, and return what it says; nothing if the server takes none."""
        traffic = self.traffic
        if not traffic.is_heard:
            return b""
        traffic.said += 1
        word = b"%s%d-%d" % (_WORD.encode(), self.index, traffic.said)
        milliseconds = (monotonic_ns() + traffic.wall_ns) // 1_000_000
        self.transport.send(
            TEXT, b'{"type":"message","timestamp":%d,"data":"%s","id":"%s"}' % (milliseconds, word, word)
        )
        return word

    def _wait_no_more(self) -> None:
        if self._awaited:
            self._awaited = b""
            self.traffic.counts.awaited -= 1


def _missing(held: Position, position: Position) -> int:
    """Return how many events are at least missing between two positions that should be the same."""
    if held.epoch == position.epoch:
        return abs(position.seq - held.seq)
    return 1


def _figure(name: str) -> Any:
    def figure(summary: Summary) -> float | None:
        recovery = summary.recovery
        return None if recovery is None else getattr(recovery, name)

    return figure


class ReconnectScenario(RoundTripScenario):
    """Heartbeats, then the storm."""

    name = "reconnect"
    help = "Drop all connections at once; measure until all are back."
    traffic = ReconnectTraffic
    storms = True
    counts: ClassVar = {
        "resumed": _figure("resumed"),
        "replayed": _figure("replayed"),
        "events_lost": _figure("lost"),
        "events_doubled": _figure("doubled"),
    }

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        recovery = summary.recovery
        if recovery is None:
            yield "recovery", "not measured: no connection came back to a session that keeps its events"
            return
        gone = f", {recovery.unrecovered:,} told that history is gone" if recovery.unrecovered else ""
        yield "recovery", f"{recovery.resumed:,} of {recovery.asked:,} resumed{gone}; {_events(recovery)}"

    def failures(self, summary: Summary) -> Iterator[str]:
        recovery = summary.recovery
        if recovery is not None and recovery.lost:
            yield f"{counted_noun(recovery.lost, 'event')} of sessions never came, and no recovered: false said so."
        if recovery is not None and recovery.doubled:
            yield f"{counted_noun(recovery.doubled, 'event')} of sessions came twice."


def _events(recovery: RecoveryLedger) -> str:
    figures = ((recovery.replayed, "replayed"), (recovery.lost, "lost"), (recovery.doubled, "doubled"))
    counted = [f"{count:,} {what}" for count, what in figures if count is not None]
    missing = [what for count, what in figures if count is None]
    texts = [f"events: {', '.join(counted)}"] if counted else []
    if missing:
        texts.append(f"not measured: {', '.join(missing)}")
    elif open_ends := recovery.asked - recovery.confirmed:
        texts.append(f"{counted_noun(open_ends, 'connection')} may miss more, since nothing came there afterwards")
    return "; ".join(texts)

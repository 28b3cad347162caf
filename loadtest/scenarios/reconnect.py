"""A storm: all connections are cut at once, and come back; what each missed of its session is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec

from loadtest.generator.connections import TEXT, LoadConnection, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.reading import GroupReader
from loadtest.scenarios.heartbeat import HeartbeatConnection, HeartbeatTraffic, RoundTripScenario
from loadtest.scenarios.recovering import RECOVERY_COUNTS, recovery_facts, recovery_failures
from loadtest.summary import Summary
from loadtest.wire import Plan
from wscore.envelope import decode_data
from wscore.errors import WsctlError
from wscore.jsonvalues import NOT_JSON
from wscore.payloads import HistoryLost
from wscore.recovery import Position

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

    __slots__ = ("_awaited", "_greeted_at_ms", "_is_replaying", "_reader")

    traffic: ReconnectTraffic

    def __init__(self, traffic: ReconnectTraffic, slot: int, index: int) -> None:
        super().__init__(traffic, slot, index)
        self._reader = GroupReader(traffic.counts)
        self._awaited = b""  # what it said when it was back, until that comes
        self._greeted_at_ms = 0.0  # on the server's clock
        self._is_replaying = False

    def follow(self, before: LoadConnection) -> None:
        assert isinstance(before, ReconnectConnection)
        self._reader = before._reader

    def resume_fields(self) -> dict[str, str]:
        fields, held = super().resume_fields(), self._reader.position
        return fields | {"epoch": held.epoch, "seq": str(held.seq)} if fields and held is not None else fields

    def ready(self) -> None:
        super().ready()
        traffic, held = self.traffic, self._reader.position
        if not self._reader.begin(self.session_info.recovery if self.session_info is not None else None):
            return
        self._is_replaying = held is not None and self.is_resumed
        word = self._say()
        if held is not None and word:
            self._awaited = word
            traffic.counts.awaited += 1
            asyncio.get_running_loop().call_later(traffic.plan.reply_timeout_s, self._wait_no_more)

    def cut(self) -> None:
        if self.is_open and self._reader.position is not None:
            for _ in range(MISSED):
                self._say()
        super().cut()

    def text(self, payload: bytes) -> None:
        if any(mark in payload for mark in _MARKS):
            try:
                event = _decode_event(payload)
            except NOT_JSON:
                pass  # which is told like any other text that is no envelope
            else:
                if self._is_taken(event):
                    return
        super().text(payload)

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
        if event.seq is not None and self._reader.position is not None:
            self._count(event, event.seq)
        return event.seq is not None

    def _count(self, event: CountedEvent, seq: int) -> None:
        if not self._reader.take(seq):
            return
        counts = self.traffic.counts
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
            self._reader.restart(Position(lost.epoch, lost.seq))
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


class ReconnectScenario(RoundTripScenario):
    """Heartbeats, then the storm."""

    name = "reconnect"
    help = "Drop all connections at once; measure until all are back."
    traffic = ReconnectTraffic
    storms = True
    counts = RECOVERY_COUNTS

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        yield from super().facts(summary)
        yield from recovery_facts(summary, "session")

    def failures(self, summary: Summary) -> Iterator[str]:
        yield from recovery_failures(summary, "sessions")

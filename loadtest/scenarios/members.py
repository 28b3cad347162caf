"""The connections of a broadcast: members of a session or a room, who receive what is published there, and publish."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec
from picows import WSFrame, WSTransport

from loadtest.generator.connections import TEXT, Inbound, LoadConnection, Recovery, monotonic_ns
from loadtest.generator.flights import BroadcastInFlight
from loadtest.generator.publications import Publications
from loadtest.generator.reading import GroupReader
from loadtest.ledger import Receipt, Streaks
from wscore.envelope import decode_data
from wscore.errors import WsctlError
from wscore.payloads import ErrorData, HistoryLost, RoomLeft
from wscore.recovery import Position

if TYPE_CHECKING:
    from loadtest.scenarios.broadcast import BroadcastTraffic

JOIN_ID: Final = "wsctl-join"
LEAST_PAUSE_S: Final = 0.001  # of a publisher that waits for no reply: without one it would do nothing else


class JoinedRoom(msgspec.Struct):
    """What is read of `room.joined`."""

    room: str
    recovery: Recovery | None = None


class ReceiverConnection(LoadConnection):
    """A connection that receives. With rooms it is ready once it has joined its own.

    Where lost connections come back and the server counts its events, whoever comes back goes on as the same receiver:
    it is owed what was published while it was away.
    """

    __slots__ = (
        *("_before", "_ends", "_is_new", "_keep_ns", "_known", "_recovery", "_replays_until_ns", "_room"),
        *("faults", "group", "is_continued", "owed_from_ns", "reader", "room", "streaks"),
    )

    traffic: BroadcastTraffic
    rank: int | None = None

    def __init__(self, traffic: BroadcastTraffic, slot: int, index: int, group: int) -> None:
        super().__init__(traffic, slot, index)
        self.group = group
        self.room = traffic.plan.group_name(group) if traffic.plan.rooms else None
        self.streaks = Streaks(traffic.plan.publishers)
        self.faults: Counter[str] = Counter()
        self.reader = GroupReader(traffic.counts) if traffic.counts_events else None
        self.owed_from_ns = 0
        self.is_continued = False  # by the next connection of its slot, which has all that it had
        self._before: ReceiverConnection | None = None
        self._recovery: Recovery | None = None  # what the answer to its join said
        self._replays_until_ns = 0  # what was sent before then, and comes, was replayed
        self._is_new = False  # it came back, and nothing came since
        self._ends = self.streaks.ends
        self._keep_ns = traffic.keep_ns
        self._room = traffic.rooms[group]
        self._known = self._room.known.get

    # Its way into the group

    @property
    def is_resumed(self) -> bool:
        if self.room is None:
            return super().is_resumed
        return self._recovery is not None and bool(self._recovery.recovered)

    @property
    def is_counted(self) -> bool:
        """Whether it holds a position to come back with."""
        return self.reader is not None and self.reader.position is not None

    def follow(self, before: LoadConnection) -> None:
        assert isinstance(before, ReceiverConnection)
        self._before = before
        self.reader = before.reader

    def resume_fields(self) -> dict[str, str]:
        fields = super().resume_fields()
        if fields and self.room is None and self.reader is not None and self.reader.position is not None:
            epoch, seq = self.reader.position
            return fields | {"epoch": epoch, "seq": str(seq)}
        return fields

    def greeted(self) -> None:
        if self.room is None or self._recovery is not None:
            super().greeted()
            return
        data: dict[str, object] = {"room": self.room}
        if self.reader is not None and self.reader.position is not None:
            epoch, seq = self.reader.position
            data["recovery"] = {"epoch": epoch, "seq": seq}
        milliseconds = (monotonic_ns() + self.traffic.wall_ns) // 1_000_000
        message = {"type": "room.join", "timestamp": milliseconds, "data": data, "id": JOIN_ID}
        self.transport.send(TEXT, msgspec.json.encode(message))

    def ready(self) -> None:
        before, reader = self._before, self.reader
        goes_on = before is not None and before.is_counted
        if reader is not None:
            info = self.session_info
            reader.begin(self._recovery if self.room is not None else None if info is None else info.recovery)
            self._replays_until_ns = self.joined_ns if self.is_resumed else 0
            self._is_new = goes_on
        if before is not None and goes_on:
            before.is_continued = True
            self.streaks, self.faults, self.owed_from_ns = before.streaks, before.faults, before.owed_from_ns
            self._ends = self.streaks.ends
        else:
            self.owed_from_ns = self.joined_ns
            self._room.enter(self.rank)
        self.traffic.receivers.append(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        was_open = self.is_open
        super().on_ws_disconnected(transport)
        if was_open and not (self.is_counted and self.traffic.is_coming_back(self)):
            self.stay_away()

    def stay_away(self) -> None:
        """It does not come back as the same receiver: nothing waits for it any more."""
        self._room.leave(self.rank)

    # What comes

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The way of almost every message. Asking for the frame's type would cost as much as the rest.
        flight = self._known(frame.get_payload_as_bytes())
        if flight is None:
            super().on_ws_frame(transport, frame)
        else:
            self._take(flight)

    def text(self, payload: bytes) -> None:
        flight = self._known(payload) or self.traffic.first_sight(self._room, payload, self)
        if flight is not None:
            self._take(flight)

    def binary(self, payload: bytes) -> None:
        flight = self._known(payload) or self.traffic.first_sight(self._room, payload, self, is_text=False)
        if flight is not None:
            self._take(flight)

    def other(self, envelope: Inbound) -> None:
        try:
            if self._is_of_group(envelope):
                return
        except WsctlError:
            self.traffic.error(f"{envelope.type} is malformed")
            return
        super().other(envelope)
        if self.reader is not None and envelope.seq is not None and envelope.room == self.room:
            self.reader.take(envelope.seq)

    def _is_of_group(self, envelope: Inbound) -> bool:
        """Handle what is about its group, or its place in it; False for anything else."""
        match envelope.type:
            case "room.joined" if self.room is not None:
                joined = decode_data(envelope.data, JoinedRoom)
                if joined.room == self.room and not self.joined_ns:
                    self._recovery = joined.recovery or Recovery()
                    self.greeted()
            case "room.left" if self.room is not None:
                if decode_data(envelope.data, RoomLeft).room == self.room:
                    self.traffic.error("put out of its room")
            case "error" if envelope.id == JOIN_ID and not self.joined_ns:
                error = decode_data(envelope.data, ErrorData)
                limit = (error.details or {}).get("limit")
                self.refuse(f"room.join refused: {error.code}" + (f", limit {limit}" if isinstance(limit, int) else ""))
            case "recovery" if self.reader is not None:
                lost = decode_data(envelope.data, HistoryLost)
                if lost.room == self.room:
                    self.reader.restart(Position(lost.epoch, lost.seq))
            case _:
                return False
        return True

    def _take(self, flight: BroadcastInFlight) -> None:
        publisher = flight.publisher
        ends = self._ends
        if ends[publisher] == flight.seq:
            ends[publisher] = flight.seq + 1
        elif not self._irregular(flight):
            return
        latency_ns = monotonic_ns() - flight.due_ns
        flight.latencies.append(latency_ns)
        if latency_ns > self._keep_ns:
            self.note("late", flight.is_counted)

    def _irregular(self, flight: BroadcastInFlight) -> bool:
        """Enter a message out of turn; tells whether it is one more."""
        missing = self.streaks.missing
        receipt = self.streaks.irregular(flight.publisher, flight.seq)
        self.traffic.counts.missing += self.streaks.missing - missing
        if receipt is Receipt.DUPLICATE:
            self.note("duplicated", flight.is_counted)
            return False
        if receipt is Receipt.REORDERED:
            self.note("reordered", flight.is_counted)
        return True

    def note(self, fault: str, is_counted: bool) -> None:
        """Count what is wrong with a message that came here, by its name in the ledger."""
        if is_counted:
            self.faults[fault] += 1
            self.traffic.counts.fault(fault)


class PublisherConnection(ReceiverConnection):
    """A connection that publishes, and receives as all do; its own messages too, unless the server leaves it out."""

    __slots__ = ("_is_pausing", "_sent", "rank")

    def __init__(self, traffic: BroadcastTraffic, slot: int, index: int, group: int, rank: int) -> None:
        super().__init__(traffic, slot, index, group)
        self.rank: int = rank
        self._sent = traffic.sent.setdefault((group, rank), Publications(group, rank))
        self._is_pausing = False  # until it publishes again

    def ready(self) -> None:
        super().ready()
        if not self.traffic.is_open_model:
            self._pause(self.traffic.think_s * random.random())  # noqa: S311

    def publish(self, due_ns: int) -> None:
        """Publish the message that was due then."""
        traffic = self.traffic
        now = monotonic_ns()
        number = self._sent.add(due_ns, now)
        offset_ns = traffic.offset_ns
        traffic.counts.sent += 1
        if traffic.window_start_ns <= due_ns < traffic.window_end_ns:
            traffic.counts.counted_sent += 1
        traffic.publish(self, number, due_ns + offset_ns, now + offset_ns)
        if traffic.plan.except_sender and not traffic.is_open_model:
            self._pause(max(traffic.think_s, LEAST_PAUSE_S))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        before = self._ends[self.rank]
        super().on_ws_frame(transport, frame)
        end = self._ends[self.rank]
        if not self.traffic.is_open_model and end != before and end == len(self._sent.sent_ns):
            self._pause(self.traffic.think_s)

    def give_up(self, sent_before_ns: int) -> None:
        """Publish again if the last message was sent before then and has not come back."""
        sent_ns = self._sent.sent_ns
        if self.is_open and sent_ns and sent_ns[-1] < sent_before_ns:
            self._pause(self.traffic.think_s)

    def _irregular(self, flight: BroadcastInFlight) -> bool:
        if self.traffic.plan.except_sender and flight.publisher == self.rank:
            self.note("misdelivered", flight.is_counted)
            return False
        return super()._irregular(flight)

    def _pause(self, pause_s: float) -> None:
        if not self._is_pausing:
            self._is_pausing = True
            asyncio.get_running_loop().call_later(pause_s, self._again)

    def _again(self) -> None:
        self._is_pausing = False
        now = monotonic_ns()
        if self.left_ns == 0 and now < self.traffic.window_end_ns:
            self.publish(now)


class _Counting(ReceiverConnection):
    """Counts the seq of what it takes; a run whose connections do not come back does without."""

    __slots__ = ()

    def _take(self, flight: BroadcastInFlight) -> None:
        reader = self.reader
        if reader is not None and flight.position is not None:
            if self._is_new:
                self._is_new = False
                self.traffic.counts.events_confirmed += 1
            if not reader.take(flight.position):
                self.note("duplicated", flight.is_counted)
                return
            self.traffic.counts.replayed += flight.sent_ns < self._replays_until_ns
        super()._take(flight)


class CountingReceiver(_Counting):
    """A receiver that counts."""

    __slots__ = ()


class CountingPublisher(_Counting, PublisherConnection):
    """A publisher that counts."""

    __slots__ = ()

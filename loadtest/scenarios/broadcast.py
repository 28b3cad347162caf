"""Publishers and receivers in sessions: one-way delivery latency, and a ledger of every message."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from picows import WSFrame, WSTransport

from loadtest.faults import ALL_FAULTS
from loadtest.generator.broadcasts import Broadcast, BroadcastForm, Flaw
from loadtest.generator.connections import TEXT, LoadConnection, decode_envelope, fault_of, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.flights import BroadcastInFlight, LandedColumns, Room
from loadtest.generator.messages import Part
from loadtest.generator.schedule import Timetable
from loadtest.generator.traffic import Traffic
from loadtest.ledger import NEVER, PublisherLog, Receipt, Streak, Streaks, counted
from loadtest.options import PUBLISHERS, LoadOptions, count, per_second
from loadtest.scenarios.base import Scenario, SearchRange
from loadtest.wire import FIRST, LAST, LATENCY, MEDIAN, SERVICE, Plan
from wscore.errors import ConfigError
from wscore.units import counted_noun

BROADCASTS_A_SECOND: Final = 10
SWEEP_NS: Final = 50_000_000  # between two looks for publishers that wait in vain
_LATENCIES: Final = {FIRST: "first receiver", MEDIAN: "median receiver", LAST: "last receiver"}


class BroadcastTraffic(Traffic):
    """Connection i is in session i modulo the sessions; the first ones of each session publish."""

    shown = LATENCY
    row = "delivery"
    latencies = _LATENCIES

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self.rooms = [Room() for _ in range(plan.sessions)]
        self.receivers: list[ReceiverConnection] = []
        self._sweeps_ns = 0
        self.landed = LandedColumns()
        self.think_s = (plan.think_ms or 0) / 1000
        self.keep_ns = int(plan.drain_s * 1e9)
        self.form = BroadcastForm(plan.run_id, plan.payload_bytes, monotonic_ns())
        self._timetable = Timetable(self, plan.rate, _publish) if plan.rate else None
        self.is_open_model = self._timetable is not None

    def new_connection(self, slot: int, index: int) -> LoadConnection:
        rank, session = divmod(index, self.plan.sessions)
        if rank >= self.plan.publishers:
            return ReceiverConnection(self, slot, index, session)
        return PublisherConnection(self, slot, index, session, rank)

    def query(self, connection: LoadConnection) -> dict[str, str]:
        return {"sessionId": f"load-{self.plan.run_id}-{connection.index % self.plan.sessions}"}

    def begun(self) -> None:
        if self._timetable is not None:
            self._timetable.start(min(self.connections, self.plan.sessions * self.plan.publishers))

    def publish(self, connection: PublisherConnection, seq: int, due_ns: int, sent_ns: int) -> None:
        """Send a message; the times are ns of the clock of the run."""
        milliseconds = (sent_ns - self.offset_ns + self.wall_ns) // 1_000_000
        message = self.form.message(milliseconds, connection.session, connection.rank, seq, due_ns, sent_ns)
        connection.transport.send(TEXT, message)

    def first_sight(
        self, room: Room, payload: bytes, connection: ReceiverConnection, *, is_text: bool = True
    ) -> BroadcastInFlight | None:
        """Return the broadcast that a frame is; None if it is none for this connection."""
        if not is_text:
            self.error("a binary frame")
            return None
        try:
            envelope = decode_envelope(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.error(fault_of(payload))
            return None
        if envelope.type != "message":
            connection.other(envelope)
            return None
        message = self.form.read(envelope.data)
        is_whole = isinstance(message, Broadcast) and self.form.is_whole(message)
        return self.flight_of(room, payload, connection, message, is_whole=is_whole)

    def flight_of(
        self, room: Room, payload: bytes, connection: ReceiverConnection, message: Broadcast | Flaw, *, is_whole: bool
    ) -> BroadcastInFlight | None:
        """Return the broadcast that a message is, from now on known by its payload; None if it is none for this one."""
        if isinstance(message, Flaw):
            self._note_flaw(message, connection)
            return None
        due_ns = message.due - self.offset_ns
        is_counted = self.window_start_ns <= due_ns < self.window_end_ns
        if message.session != connection.session:
            connection.note("misdelivered", is_counted)
            return None
        flight = room.under_way.get((message.publisher, message.seq))
        if flight is None:
            is_straggler = monotonic_ns() - due_ns > self.keep_ns
            flight = BroadcastInFlight(message, self.offset_ns, is_counted=is_counted, is_straggler=is_straggler)
            room.enter(flight)
        if is_whole:
            room.know(payload, flight)
        else:
            connection.note("corrupt", is_counted)
        return flight

    def _note_flaw(self, flaw: Flaw, connection: ReceiverConnection) -> None:
        is_counted = self.window_start_ns <= monotonic_ns() < self.window_end_ns + self.keep_ns
        connection.note("corrupt" if flaw is Flaw.CORRUPT else "unknown", is_counted)

    def flush(self) -> None:
        now = monotonic_ns()
        if not self.is_open_model and now >= self._sweeps_ns:
            self._sweeps_ns = now + SWEEP_NS
            for connection in self.receivers:
                if isinstance(connection, PublisherConnection):
                    connection.give_up(now - int(self.plan.reply_timeout_s * 1e9))
        for room in self.rooms:
            done = []
            for flight in room.under_way.values():
                size = len(flight.latencies)
                new, flight.seen = size - flight.seen, size
                self.counts.received += new
                if flight.is_counted:
                    self.counts.counted_received += new
                if size >= room.receivers or now - flight.due_ns > self.keep_ns:
                    done.append(flight)
            for flight in done:
                room.land(flight)
                self._land(flight)

    def _land(self, flight: BroadcastInFlight) -> None:
        recorders, latencies = self.recorders, flight.latencies
        if not latencies:
            return
        if not flight.is_counted:
            recorders[LATENCY].observe(latencies)
            return
        recorders[LATENCY].record(latencies)
        late_ns = flight.sent_ns - flight.due_ns
        recorders[SERVICE].record([latency - late_ns for latency in latencies] if late_ns else latencies)
        latencies.sort()
        if flight.is_straggler:
            return
        if self.processes > 1:  # each has but some of the receivers: the master puts them together
            self.landed.add(flight)
            return
        recorders[FIRST].record(latencies[:1])
        recorders[MEDIAN].record([latencies[(len(latencies) - 1) // 2]])
        recorders[LAST].record(latencies[-1:])

    def result(self, part: Part) -> None:
        for room in self.rooms:
            for flight in tuple(room.under_way.values()):
                room.land(flight)
                self._land(flight)
        if self._timetable is not None:
            self.counts.unsent += self._timetable.backlog()
        part.landed = self.landed.landed()
        streaks: defaultdict[Streak, list[int]] = defaultdict(list)
        for connection in self.receivers:
            # Who was there before the window began had to get all of it: naming the moment would tell equals apart.
            joined_ns = connection.joined_ns + self.offset_ns if connection.joined_ns >= self.window_start_ns else 0
            left_ns = connection.left_ns + self.offset_ns if connection.left_ns else NEVER
            for streak in connection.streaks.all(connection.session, joined_ns=joined_ns, left_ns=left_ns):
                streaks[streak].append(connection.index)
            if connection.faults:
                part.add_faults(connection.index, connection.faults)
            if isinstance(connection, PublisherConnection):
                part.logs.append(connection.log())
        part.streaks = list(streaks.items())


class ReceiverConnection(LoadConnection):
    """A connection that receives."""

    __slots__ = ("_ends", "_keep_ns", "_known", "_room", "faults", "session", "streaks")

    traffic: BroadcastTraffic

    def __init__(self, traffic: BroadcastTraffic, slot: int, index: int, session: int) -> None:
        super().__init__(traffic, slot, index)
        self.session = session
        self.streaks = Streaks(traffic.plan.publishers)
        self._ends = self.streaks.ends
        self._room = traffic.rooms[session]
        self._known = self._room.known.get
        self._keep_ns = traffic.keep_ns
        self.faults: Counter[str] = Counter()

    def ready(self) -> None:
        self._room.receivers += 1
        self.traffic.receivers.append(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.is_open:
            self._room.receivers -= 1
        super().on_ws_disconnected(transport)

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
    """A connection that publishes, and receives as all do."""

    __slots__ = ("_due_ns", "_is_pausing", "_sent_ns", "rank")

    def __init__(self, traffic: BroadcastTraffic, slot: int, index: int, session: int, rank: int) -> None:
        super().__init__(traffic, slot, index, session)
        self.rank = rank
        self._due_ns = array("q")
        self._sent_ns = array("q")
        self._is_pausing = False  # until it publishes again

    def ready(self) -> None:
        super().ready()
        if not self.traffic.is_open_model:
            self._pause(self.traffic.think_s * random.random())  # noqa: S311

    def publish(self, due_ns: int) -> None:
        """Publish the message that was due then."""
        traffic = self.traffic
        now = monotonic_ns()
        self._due_ns.append(due_ns)
        self._sent_ns.append(now)
        offset_ns = traffic.offset_ns
        traffic.counts.sent += 1
        if traffic.window_start_ns <= due_ns < traffic.window_end_ns:
            traffic.counts.counted_sent += 1
        traffic.publish(self, len(self._due_ns) - 1, due_ns + offset_ns, now + offset_ns)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        before = self._ends[self.rank]
        super().on_ws_frame(transport, frame)
        end = self._ends[self.rank]
        if not self.traffic.is_open_model and end != before and end == len(self._sent_ns):
            self._pause(self.traffic.think_s)

    def give_up(self, sent_before_ns: int) -> None:
        """Publish again if the last message was sent before then and has not come back."""
        if self.is_open and self._sent_ns and self._sent_ns[-1] < sent_before_ns:
            self._pause(self.traffic.think_s)

    def _pause(self, pause_s: float) -> None:
        if not self._is_pausing:
            self._is_pausing = True
            asyncio.get_running_loop().call_later(pause_s, self._again)

    def _again(self) -> None:
        self._is_pausing = False
        now = monotonic_ns()
        if self.left_ns == 0 and now < self.traffic.window_end_ns:
            self.publish(now)

    def log(self) -> PublisherLog:
        """Return what was published, in the clock of the run."""
        traffic = self.traffic
        start, end = counted(self._due_ns, traffic.window_start_ns, traffic.window_end_ns)
        sent_ns = [moment + traffic.offset_ns for moment in self._sent_ns]
        return PublisherLog(self.session, self.rank, sent_ns, start, end)


def _publish(connection: LoadConnection, due_ns: int) -> None:
    assert isinstance(connection, PublisherConnection)
    connection.publish(due_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastOptions(LoadOptions):
    """As LoadOptions, with sessions and who speaks in them."""

    rate: Annotated[float | None, per_second("Broadcasts a second in all (open model).", "10 per publisher")] = None
    sessions: Annotated[int, count("Sessions to spread them over.")] = 1
    publishers: Annotated[int, PUBLISHERS] = 1


class BroadcastScenario(Scenario):
    """Deliveries to everyone in a session, each of them accounted for."""

    name = "broadcast"
    help = "Publish in sessions; measure and account for every delivery."
    options = BroadcastOptions
    traffic = BroadcastTraffic
    latency_rule = "delivery"
    latency_title = "delivery"
    faults = ALL_FAULTS
    latencies = _LATENCIES
    quick = BroadcastOptions(rate=20, duration=5000, drain=1000)
    search = SearchRange()
    asks = False

    def foreign_traffic(self) -> type[Traffic]:
        from loadtest.scenarios.stamped import StampedTraffic  # which builds on what is here

        return StampedTraffic

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        fields = super().plan_fields(options)
        connections = fields["connections"]
        if options.sessions * options.publishers > connections:
            raise ConfigError(
                "--publishers",
                f"{options.sessions} × {options.publishers} publishers are more than {connections} connections",
            )
        return {**fields, "sessions": options.sessions, "publishers": options.publishers}

    def default_rate(self, options: Any, connections: int) -> float:
        return float(options.sessions * options.publishers * BROADCASTS_A_SECOND)

    def probe_query(self, plan: Plan) -> dict[str, str]:
        return {"sessionId": f"load-{plan.run_id}-probe"}

    def title_parts(self, plan: Plan) -> Iterator[str]:
        yield counted_noun(plan.sessions, "session")
        yield counted_noun(plan.sessions * plan.publishers, "publisher")
        yield from super().title_parts(plan)

"""Publishers and receivers in sessions: one-way delivery latency, and a ledger of every message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, Any, Final

from loadtest.faults import ALL_FAULTS
from loadtest.generator.broadcasts import Broadcast, BroadcastForm, Flaw
from loadtest.generator.connections import TEXT, LoadConnection, decode_envelope, fault_of, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.flights import BroadcastInFlight, LandedColumns, Room
from loadtest.generator.messages import Part
from loadtest.generator.publications import Publications
from loadtest.generator.schedule import Timetable
from loadtest.generator.traffic import Traffic
from loadtest.ledger import NEVER, Streak
from loadtest.options import PUBLISHERS, LoadOptions, count, flag, per_second
from loadtest.scenarios.base import Scenario, SearchRange
from loadtest.scenarios.members import CountingPublisher, CountingReceiver, PublisherConnection, ReceiverConnection
from loadtest.scenarios.recovering import RECOVERY_COUNTS, recovery_facts, recovery_failures
from loadtest.summary import Summary
from loadtest.wire import FIRST, LAST, LATENCY, MEDIAN, SERVICE, Plan
from wscore.errors import ConfigError
from wscore.jsonvalues import NOT_JSON
from wscore.units import counted_noun

BROADCASTS_A_SECOND: Final = 10
SWEEP_NS: Final = 50_000_000  # between two looks for publishers that wait in vain
_LATENCIES: Final = {FIRST: "first receiver", MEDIAN: "median receiver", LAST: "last receiver"}


class BroadcastTraffic(Traffic):
    """Connection i is in group i modulo the groups, which are sessions or rooms; the first ones of each publish."""

    shown = LATENCY
    row = "delivery"
    latencies = _LATENCIES

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self.rooms = [Room(leaves_out=plan.except_sender) for _ in range(plan.groups)]
        self.receivers: list[ReceiverConnection] = []
        self.sent: dict[tuple[int, int], Publications] = {}
        self.counts_events = plan.reconnects and plan.dialogue is None
        self._sweeps_ns = 0
        self.landed = LandedColumns()
        self.think_s = (plan.think_ms or 0) / 1000
        self.keep_ns = int(plan.drain_s * 1e9)
        prefix = plan.group_name("") if plan.rooms else None
        self.form = BroadcastForm(plan.run_id, plan.payload_bytes, monotonic_ns(), room_prefix=prefix)
        self._timetable = Timetable(self, plan.rate, _publish) if plan.rate else None
        self.is_open_model = self._timetable is not None

    def new_connection(self, slot: int, index: int) -> LoadConnection:
        rank, group = divmod(index, self.plan.groups)
        if rank >= self.plan.publishers:
            return (CountingReceiver if self.counts_events else ReceiverConnection)(self, slot, index, group)
        return (CountingPublisher if self.counts_events else PublisherConnection)(self, slot, index, group, rank)

    def query(self, connection: LoadConnection) -> dict[str, str]:
        return {} if self.plan.rooms else {"sessionId": self.plan.group_name(connection.index % self.plan.groups)}

    def awaited(self, connection: LoadConnection) -> str:
        has_joined = not self.plan.rooms or connection.session_info is None
        return self.greeting if has_joined else "room.joined"

    def stayed_away(self, connection: LoadConnection) -> None:
        if isinstance(connection, ReceiverConnection) and connection.is_counted:
            connection.stay_away()

    def begun(self) -> None:
        if self._timetable is not None:
            self._timetable.start(min(self.connections, self.plan.groups * self.plan.publishers))

    def publish(self, connection: PublisherConnection, seq: int, due_ns: int, sent_ns: int) -> None:
        """Send a message; the times are ns of the clock of the run."""
        milliseconds = (sent_ns - self.offset_ns + self.wall_ns) // 1_000_000
        message = self.form.message(milliseconds, connection.group, connection.rank, seq, due_ns, sent_ns)
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
        except NOT_JSON:
            self.error(fault_of(payload))
            return None
        if envelope.type != "message":
            connection.other(envelope)
            return None
        message = self.form.read(envelope.data)
        is_whole = isinstance(message, Broadcast) and self.form.is_whole(message)
        is_here = envelope.room == connection.room
        flight = self.flight_of(room, payload, connection, message, is_whole=is_whole, is_here=is_here)
        if flight is not None:
            flight.position = envelope.seq
        return flight

    def flight_of(
        self,
        room: Room,
        payload: bytes,
        connection: ReceiverConnection,
        message: Broadcast | Flaw,
        *,
        is_whole: bool,
        is_here: bool = True,
    ) -> BroadcastInFlight | None:
        """Return the broadcast that a message is, from now on known by its payload; None if it is none for this one.

        One that is not here came by another room than that of the connection.
        """
        if isinstance(message, Flaw):
            self._note_flaw(message, connection)
            return None
        due_ns = message.due - self.offset_ns
        is_counted = self.window_start_ns <= due_ns < self.window_end_ns
        if message.session != connection.group or not is_here:
            connection.note("misdelivered", is_counted)
            return None
        flight = room.under_way.get((message.publisher, message.seq))
        if flight is None:
            is_straggler = monotonic_ns() - due_ns > self.keep_ns
            flight = BroadcastInFlight(message, self.offset_ns, is_counted=is_counted, is_straggler=is_straggler)
            room.begin(flight)
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
                if size >= room.expected(flight) or now - flight.due_ns > self.keep_ns:
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
            if connection.is_continued:
                continue
            # Who was there before the window began had to get all of it: naming the moment would tell equals apart.
            owed_ns = connection.owed_from_ns
            joined_ns = owed_ns + self.offset_ns if owed_ns >= self.window_start_ns else 0
            left_ns = connection.left_ns + self.offset_ns if connection.left_ns else NEVER
            for streak in connection.streaks.all(connection.group, joined_ns=joined_ns, left_ns=left_ns):
                if not self.plan.except_sender or streak.publisher != connection.rank:
                    streaks[streak].append(connection.index)
            if connection.faults:
                part.add_faults(connection.index, connection.faults)
        window = self.window_start_ns, self.window_end_ns, self.offset_ns
        part.logs = [publications.log(*window) for publications in self.sent.values()]
        part.streaks = list(streaks.items())


def _is_sender_left_out(summary: Summary) -> bool:
    """Tell whether what was lost is each message to its own publisher, as far as the worst receivers show."""
    ledger, config = summary.ledger, summary.config
    publishers = config.get("publishers", 1) * (config.get("rooms") or config.get("sessions", 1))
    return (
        0 < ledger.lost == ledger.published
        and not config.get("exceptSender")
        and summary.receivers_affected == publishers
        and all(receiver.connection < publishers for receiver in summary.receivers)
    )


def _publish(connection: LoadConnection, due_ns: int) -> None:
    assert isinstance(connection, PublisherConnection)
    connection.publish(due_ns)


class BroadcastOptions(LoadOptions, frozen=True, kw_only=True):
    """As LoadOptions, with sessions and who speaks in them."""

    rate: Annotated[float | None, per_second("Broadcasts a second in all (open model).", "10 per publisher")] = None
    sessions: Annotated[int, count("Sessions to spread them over.")] = 1
    rooms: Annotated[int | None, count("In place of sessions: rooms that they join, each one of them.")] = None
    publishers: Annotated[int, PUBLISHERS] = 1
    except_sender: Annotated[bool, flag("--except-sender", "Publishers do not get their own messages back.")] = False


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
    counts = RECOVERY_COUNTS
    quick = BroadcastOptions(rate=20, duration=5000, drain=1000)
    search = SearchRange()
    asks = False

    def foreign_traffic(self) -> type[Traffic]:
        from loadtest.scenarios.stamped import StampedTraffic  # which builds on what is here

        return StampedTraffic

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        fields = super().plan_fields(options)
        connections = fields["connections"]
        if options.rooms and options.sessions > 1:
            raise ConfigError("--rooms", "--sessions is given too", "connections are spread over one or the other")
        groups = options.rooms or options.sessions
        if groups * options.publishers > connections:
            raise ConfigError(
                "--publishers", f"{groups} × {options.publishers} publishers are more than {connections} connections"
            )
        own = {"sessions": options.sessions, "publishers": options.publishers, "except_sender": options.except_sender}
        return {**fields, **own, "rooms": options.rooms or 0}

    def check(self, plan: Plan) -> None:
        if plan.rooms and plan.dialogue is not None and plan.speaks_wsctl:
            mend = "leave one of them out, or spread by --sessions"
            raise ConfigError("--rooms", "--message is given too, and goes to sessions", mend)
        if plan.rooms and plan.dialogue is not None:
            mend = "let each connection join with --on-open or --channel, spread by --sessions and {{session}}"
            raise ConfigError("--rooms", f"{plan.dialogue.protocol.name} has no room.join", mend)

    def default_rate(self, options: Any, connections: int) -> float:
        return float((options.rooms or options.sessions) * options.publishers * BROADCASTS_A_SECOND)

    def probe_query(self, plan: Plan) -> dict[str, str]:
        return {} if plan.rooms else {"sessionId": plan.group_name("probe")}

    def title_parts(self, plan: Plan) -> Iterator[str]:
        yield counted_noun(plan.groups, "room" if plan.rooms else "session")
        yield counted_noun(plan.groups * plan.publishers, "publisher")
        yield from super().title_parts(plan)

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        if _is_sender_left_out(summary):
            yield (
                "hint",
                "only publishers lost messages, their own: a server that leaves the sender out needs --except-sender",
            )
        if summary.sent and not summary.received:
            yield "hint", "nothing that was sent came to anybody: an app has to handle message, and publish it"
        if summary.config.get("reconnects"):
            yield from recovery_facts(summary, "group")

    def failures(self, summary: Summary) -> Iterator[str]:
        yield from recovery_failures(summary, "groups")

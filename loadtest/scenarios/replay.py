"""A recording as the load: every connection sends it, again and again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final

import msgspec

from loadtest.generator.connections import TEXT, LoadConnection, decode_envelope, fault_of, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.messages import Command, Part, Window
from loadtest.generator.schedule import LATE_NS
from loadtest.generator.traffic import Traffic
from loadtest.ledger import NEVER
from loadtest.options import DRAIN, RAMP, Option, Unit, count, milliseconds, ramp_s
from loadtest.scenarios.base import FileArgument, FileKind, Scenario
from loadtest.summary import Summary
from loadtest.wire import LATENCY, SERVICE, Plan, SentMessage
from wscore.jsonvalues import NOT_JSON

# When it was due and when it was sent, and whether a reply is owed.
_Sent = tuple[int, int, bool]

LEAST_GAP_MS: Final = 10.0  # between the last message and the first one again


class ReplayMessage(msgspec.Struct):
    """One message: when it is due after the first, its text, and whether a pong or a reply with its id answers it.

    A reply `is_owed` if there was one in the recording. `around` is the text before and after the id, where another one
    may take its place, unless the message `refers` to a request by it.
    """

    offset_ns: int
    text: bytes
    is_ping: bool
    id: str | None
    is_owed: bool = False
    around: tuple[bytes, bytes] | None = None
    refers: bool = False


class ReplayTraffic(Traffic):
    """All connections play from the start of the window on. What has an answer is measured, as in the open model."""

    shown = LATENCY
    row = "reply"
    is_open_model = True

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self.lines = [_line(message, plan.speed) for message in plan.recording]
        last_ms = plan.recording[-1].offset_ms if plan.recording else 0.0
        gap_ms = max(LEAST_GAP_MS, last_ms / max(1, len(plan.recording) - 1))
        self.period_ns = int((last_ms + gap_ms) / plan.speed * 1e6)
        self.latency: list[int] = []
        self.service: list[int] = []
        self.owed = 0  # replies
        self.players: list[ReplayConnection] = []

    def new_connection(self, slot: int, index: int) -> ReplayConnection:
        return ReplayConnection(self, slot, index)

    def apply(self, command: Command) -> None:
        is_first = isinstance(command, Window) and self.window_start_ns == NEVER
        super().apply(command)
        if is_first:
            for connection in self.slots:
                if isinstance(connection, ReplayConnection) and connection.is_open:
                    connection.ready()

    def flush(self) -> None:
        latency, self.latency = self.latency, []
        service, self.service = self.service, []
        self.recorders[LATENCY].record(latency)
        self.recorders[SERVICE].record(service)

    def result(self, part: Part) -> None:
        for player in self.players:
            if unanswered := player.unanswered():
                times = [sent_ns + self.offset_ns for sent_ns in unanswered]
                part.unanswered.setdefault(player.index, []).extend(times)
        part.replies_expected = self.owed
        part.replies_received = self.owed - sum(map(len, part.unanswered.values()))


class ReplayConnection(LoadConnection):
    """One connection that plays the recording."""

    __slots__ = ("_awaited", "_count", "_pings")

    traffic: ReplayTraffic

    def __init__(self, traffic: ReplayTraffic, slot: int, index: int) -> None:
        super().__init__(traffic, slot, index)
        self._count = 0
        self._pings: deque[_Sent] = deque()
        self._awaited: dict[str, deque[_Sent]] = {}  # wsctl's own has the same ids each time it is played
        traffic.players.append(self)

    def follow(self, before: LoadConnection) -> None:
        """Go on behind what the connection before this one played, and without what was due meanwhile."""
        if isinstance(before, ReplayConnection):
            self._count = before._count

    def ready(self) -> None:
        traffic = self.traffic
        if traffic.window_start_ns == NEVER or not traffic.lines:
            return
        now = min(monotonic_ns(), traffic.window_end_ns)
        while self.dialled_ns > traffic.window_start_ns and self._due_ns() < now:
            self._count += 1
            traffic.counts.unsent += 1
        self._arm(self._due_ns())

    def _due_ns(self) -> int:
        traffic = self.traffic
        turn, place = divmod(self._count, len(traffic.lines))
        if turn and traffic.plan.plays_once:
            return NEVER
        return traffic.window_start_ns + turn * traffic.period_ns + traffic.lines[place].offset_ns

    def _arm(self, due_ns: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + (due_ns - monotonic_ns()) / 1e9, self._play)

    def _play(self) -> None:
        traffic = self.traffic
        while self.left_ns == 0 and (due_ns := self._due_ns()) < traffic.window_end_ns:
            now = monotonic_ns()
            if due_ns > now:
                self._arm(due_ns)
                return
            line = traffic.lines[self._count % len(traffic.lines)]
            self._count += 1
            traffic.counts.late_sends += now - due_ns > LATE_NS
            traffic.counts.sent += 1
            traffic.counts.counted_sent += 1
            text, key = self.spoken(line)
            traffic.owed += line.is_owed
            if key is not None:
                self._awaited.setdefault(key, deque()).append((due_ns, now, line.is_owed))
            elif line.is_ping:
                self._pings.append((due_ns, now, line.is_owed))
            self.transport.send(TEXT, text)

    def spoken(self, line: ReplayMessage) -> tuple[bytes, str | None]:
        """Return the text to send for a message, and the id of its reply."""
        return line.text, line.id

    def withdraw(self, key: str) -> None:
        """Wait no longer for the replies with an id."""
        self.traffic.owed -= sum(is_owed for _, _, is_owed in self._awaited.pop(key, ()))

    def unanswered(self) -> list[int]:
        """Return when what had no reply was sent, where one is owed."""
        waiting = (*self._pings, *(sent for queue in self._awaited.values() for sent in queue))
        return [sent_ns for _, sent_ns, is_owed in waiting if is_owed]

    def text(self, payload: bytes) -> None:
        traffic = self.traffic
        try:
            envelope = decode_envelope(payload)
        except NOT_JSON:
            traffic.error(fault_of(payload))
            return
        if envelope.type in ("session_created", "ping"):
            self.other(envelope)
            return
        self.got(envelope.id, is_pong=envelope.type == "pong")
        self.other(envelope)

    def got(self, key: str | None, *, is_pong: bool) -> bool:
        """Enter a message; one with the id of another, or a pong without one, is its answer. Tells whether it is."""
        traffic, now = self.traffic, monotonic_ns()
        traffic.counts.received += 1
        traffic.counts.counted_received += now >= traffic.window_start_ns
        waiting = self._pings if key is None and is_pong else self._awaited.get(key or "")
        if not waiting:
            return False
        due_ns, sent_ns, _ = waiting.popleft()
        if not waiting and key is not None:
            del self._awaited[key]
        traffic.latency.append(now - due_ns)
        traffic.service.append(now - sent_ns)
        return True


def _line(message: SentMessage, speed: float) -> ReplayMessage:
    payload, offset_ns = message.text.encode(), int(message.offset_ms / speed * 1e6)
    try:
        envelope = decode_envelope(payload)
    except NOT_JSON:
        return ReplayMessage(offset_ns, payload, is_ping=False, id=None)
    is_ping = envelope.type == "ping"
    identity = envelope.id if envelope.type != "message" else None  # what is fanned out comes back without its id
    is_owed = message.is_answered and (is_ping or identity is not None)
    return ReplayMessage(offset_ns, payload, is_ping=is_ping, id=identity, is_owed=is_owed)


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How many play the recording, and how fast."""

    TITLE: ClassVar = "Load"

    connections: Annotated[int, count("Connections that each play it.")] = 10
    speed: Annotated[float, Option("Times the speed of the recording.", Unit.FACTOR, 0.001)] = 1.0
    ramp: Annotated[int | None, RAMP] = None
    duration: Annotated[int | None, milliseconds("Play it again and again for so long.", "once")] = None
    drain: Annotated[int, DRAIN] = 2_000


class ReplayScenario(Scenario):
    """What a client sent, over many connections."""

    name = "replay"
    help = "Play what a client sent, over many connections."
    options = ReplayOptions
    faults = frozenset(("lost",))
    traffic = ReplayTraffic
    file = FileArgument(FileKind.RECORDING, "FILE", "A recording of a client.")

    def foreign_traffic(self) -> type[Traffic]:
        from loadtest.scenarios.foreignreplay import ForeignReplayTraffic  # which builds on what is here

        return ForeignReplayTraffic

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        found = summary.latencies.get(LATENCY)
        if found is None:
            yield (
                "replies",
                f"{summary.received:,} counted; none could be paired with what was sent, so neither latency nor "
                "loss is known: record messages with an id",
            )
        else:
            yield "replies", f"{found.count:,} of {summary.received:,} messages paired with what was sent"

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        recording: tuple[SentMessage, ...] = content
        once_s = recording[-1].offset_ms / 1000 / options.speed
        return {
            "connections": options.connections,
            "ramp_s": ramp_s(options.ramp, options.connections),
            "duration_s": max(1.0, once_s + LEAST_GAP_MS / 1000)
            if options.duration is None
            else options.duration / 1000,
            "plays_once": options.duration is None,
            "drain_s": options.drain / 1000,
            "recording": recording,
            "speed": options.speed,
        }

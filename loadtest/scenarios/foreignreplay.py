"""A recording of a client of another protocol as the load: its messages, without the steps of the protocol itself."""

from __future__ import annotations

from itertools import count

from loadtest.generator.connections import LoadConnection
from loadtest.generator.dialect import Dialect
from loadtest.generator.dialing import Dialer
from loadtest.scenarios.exchange import problem_in
from loadtest.scenarios.replay import ReplayConnection, ReplayMessage, ReplayTraffic
from loadtest.wire import Plan, SentMessage
from wscore.foreign import Adapter, Kind, Reading
from wscore.foreign.renumbering import FreshIds, first_free_id


class ForeignReplayTraffic(ReplayTraffic):
    """Greetings and heartbeats are spoken anew; what carries an id is paired with the reply that carries it too.

    An id that a connection has used already becomes another one, where that is up to the client.
    """

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        assert plan.dialogue is not None
        self.dialect = Dialect(plan, plan.dialogue)
        self.greeting = "greeting"
        adapter = self.dialect.adapter
        said = [(message, adapter.read(message.text)) for message in plan.recording]
        self.first_id = first_free_id(reading for _, reading in said)
        self.lines = [
            _line(message, reading, plan.speed, adapter)
            for message, reading in said
            if reading.kind not in (Kind.CONTROL, Kind.HEARTBEAT)
        ]

    def new_connection(self, slot: int, index: int) -> ReplayConnection:
        return ForeignReplayConnection(self, slot, index)

    def met(self, connection: LoadConnection) -> None:
        self.dialect.begin(connection)


class ForeignReplayConnection(ReplayConnection):
    """One connection that plays it."""

    __slots__ = ("_ids",)

    traffic: ForeignReplayTraffic

    def __init__(self, traffic: ForeignReplayTraffic, slot: int, index: int) -> None:
        super().__init__(traffic, slot, index)
        self._ids = FreshIds(traffic.first_id)

    def spoken(self, line: ReplayMessage) -> tuple[bytes, str | None]:
        if line.around is None or line.id is None:
            return line.text, line.id
        id = self._ids.of(line.id, refers=line.refers)
        head, tail = line.around
        text = line.text if id == line.id else head + id.encode() + tail
        if not line.refers:
            return text, id
        self.withdraw(id)  # who ends a subscription waits for nothing more of it
        return text, None

    def text(self, payload: bytes) -> None:
        self._read(payload, is_text=True)

    def binary(self, payload: bytes) -> None:
        self._read(payload, is_text=False)

    def _read(self, payload: bytes, *, is_text: bool) -> None:
        reading = self.traffic.dialect.read(self, payload, is_text=is_text)
        if reading is None:
            return
        message = reading.message
        is_reply = reading.kind is not Kind.MESSAGE or not self.traffic.dialect.is_private
        key = message.id if message is not None and is_reply else None
        if self.got(key, is_pong=False) and message is not None and (problem := problem_in(message)):
            self.traffic.error(problem)


def _line(message: SentMessage, reading: Reading, speed: float, adapter: Adapter) -> ReplayMessage:
    said, offset_ns, text = reading.message, int(message.offset_ms / speed * 1e6), message.text.encode()
    if said is None or said.id is None:
        return ReplayMessage(offset_ns, text, is_ping=False, id=None)
    refers = said.type in adapter.refers
    around = None
    if adapter.renumber is not None:
        # A number that is nowhere in it stands for the id.
        place = next(digits for digits in map(str, count(7_301_826_459)) if digits not in message.text)
        head, found, tail = adapter.renumber(message.text, place).encode().partition(place.encode())
        around = (head, tail) if found else None
    is_owed = message.is_answered and not refers
    return ReplayMessage(offset_ns, text, is_ping=False, id=said.id, is_owed=is_owed, around=around, refers=refers)

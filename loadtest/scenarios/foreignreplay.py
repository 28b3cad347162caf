"""A recording of a client of another protocol as the load: its messages, without the steps of the protocol itself."""

from __future__ import annotations

from loadtest.generator.connections import LoadConnection
from loadtest.generator.dialect import Dialect
from loadtest.generator.dialing import Dialer
from loadtest.scenarios.exchange import problem_in
from loadtest.scenarios.replay import ReplayConnection, ReplayMessage, ReplayTraffic
from loadtest.wire import Plan, SentMessage
from wscore.foreign import Kind, Reading


class ForeignReplayTraffic(ReplayTraffic):
    """Greetings and heartbeats are spoken anew; what carries an id is paired with the reply that carries it too."""

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        assert plan.dialogue is not None
        self.dialect = Dialect(plan, plan.dialogue)
        self.greeting = "greeting"
        read = self.dialect.adapter.read
        said = [(message, read(message.text)) for message in plan.recording]
        self.lines = [
            _line(message, reading, plan.speed)
            for message, reading in said
            if reading.kind not in (Kind.CONTROL, Kind.HEARTBEAT)
        ]

    def new_connection(self, slot: int, index: int) -> ReplayConnection:
        return ForeignReplayConnection(self, slot, index)

    def met(self, connection: LoadConnection) -> None:
        self.dialect.begin(connection)


class ForeignReplayConnection(ReplayConnection):
    """One connection that plays it."""

    __slots__ = ()

    traffic: ForeignReplayTraffic

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


def _line(message: SentMessage, reading: Reading, speed: float) -> ReplayMessage:
    key = None if reading.message is None else reading.message.id
    return ReplayMessage(int(message.offset_ms / speed * 1e6), message.text.encode(), is_ping=False, id=key)

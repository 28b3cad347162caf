"""Broadcasts in any protocol: each carries a stamp, which is found again wherever the server puts it."""

from __future__ import annotations

from loadtest.dialogue import statement_of
from loadtest.generator.broadcasts import StampForm
from loadtest.generator.connections import LoadConnection
from loadtest.generator.dialect import Dialect
from loadtest.generator.dialing import Dialer
from loadtest.generator.flights import BroadcastInFlight, Room
from loadtest.scenarios.broadcast import BroadcastTraffic
from loadtest.scenarios.exchange import FIRST_ID, problem_in
from loadtest.scenarios.members import PublisherConnection, ReceiverConnection
from loadtest.templates import read_template
from loadtest.wire import Plan
from wscore.foreign import Kind


class StampedTraffic(BroadcastTraffic):
    """Publishers send the messages of the plan in turn; what carries their stamp is a delivery of them."""

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        dialogue = plan.dialogue
        assert dialogue is not None
        self.dialect = Dialect(plan, dialogue)
        self.greeting = "greeting"
        self._stamps = StampForm(plan.run_id)
        columns = dialogue.rows[0] if dialogue.rows else ()
        lines = dialogue.messages or (statement_of(dialogue.protocol.name),)
        self._templates = [read_template(line, self.dialect.adapter, "--message", columns) for line in lines]
        self._number = FIRST_ID

    def met(self, connection: LoadConnection) -> None:
        self.dialect.begin(connection)

    def publish(self, connection: PublisherConnection, seq: int, due_ns: int, sent_ns: int) -> None:
        self._number += 1
        stamp = self._stamps.stamp(connection.group, connection.rank, seq, due_ns, sent_ns)
        self.dialect.say(connection, self._templates[seq % len(self._templates)], self._number, seq, stamp)

    def first_sight(
        self, room: Room, payload: bytes, connection: ReceiverConnection, *, is_text: bool = True
    ) -> BroadcastInFlight | None:
        reading = self.dialect.read(connection, payload, is_text=is_text)
        if reading is None:
            return None
        message = self._stamps.read(payload)
        if message is not None:
            return self.flight_of(room, payload, connection, message, is_whole=True)
        if reading.kind is Kind.REPLY and reading.message is not None and (problem := problem_in(reading.message)):
            self.error(problem)
        return None

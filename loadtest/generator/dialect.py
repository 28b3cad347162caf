"""Speaks another protocol than wsctl's: for all connections of a process, chosen once a run."""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

from loadtest.dialogue import Dialogue
from loadtest.generator.connections import BINARY, TEXT, LoadConnection, fault_of
from loadtest.templates import Template, escaping, frame_template
from loadtest.wire import Plan
from wscore.foreign import Adapter, Frame, Kind, ProtocolName, Reading, error_code
from wscore.wallclock import now_ms

# With these a reply is for the one who asked; with the others it may go to everyone, and carry the same id.
PRIVATE: Final = frozenset(
    (ProtocolName.WSCTL, ProtocolName.GRAPHQL_WS, ProtocolName.SOCKETIO, ProtocolName.PHOENIX, ProtocolName.JSONRPC)
)


class Dialect:
    """Opens the protocol on a connection, reads what comes, answers what has to be answered, and fills in messages."""

    def __init__(self, plan: Plan, dialogue: Dialogue) -> None:
        self._plan = plan
        self._is_ours = dialogue.is_ours
        self._is_raw = dialogue.protocol.name is ProtocolName.RAW
        self.wanted_greeting = dialogue.protocol.greeting
        self._may_greet_again = self.wanted_greeting is not None
        self._escaped = escaping(dialogue.protocol.name)
        self._rows = tuple({name: self._escaped(text) for name, text in row.items()} for row in dialogue.rows)
        self._pad = "x" * plan.payload_bytes
        self._beats = 0
        self._attachments: dict[LoadConnection, int] = {}  # that are still to come
        self.adapter: Adapter = dialogue.adapter()
        self.is_private = dialogue.protocol.name in PRIVATE
        columns = dialogue.rows[0] if dialogue.rows else ()
        self._first = [frame_template(frame, "--on-open", columns) for frame in self.adapter.first]
        opening = self.adapter.opening
        self._opening = None if opening is None else frame_template(opening, "--channel", columns)

    def begin(self, connection: LoadConnection) -> None:
        """Say what comes first; the connection is ready then, if there is no greeting to wait for."""
        for template in self._first:
            self.say(connection, template, 0, connection.index)
        if not self.adapter.awaits_greeting:
            connection.greeted()
        if self.adapter.heartbeat is not None:
            self._arm(connection, self.adapter.heartbeat.interval_s)

    def read(self, connection: LoadConnection, payload: bytes, *, is_text: bool) -> Reading | None:
        """Return the message in a frame, None if it is none for whoever measures."""
        try:
            frame: Frame = payload.decode() if is_text else payload
        except UnicodeDecodeError:
            connection.traffic.error(fault_of(payload))
            return None
        reading = self.adapter.read(frame)
        if reading.attachments and not self._has_attachments(connection, reading.attachments):
            connection.traffic.error(_stray(self.adapter))
            return None
        if reading.answer is not None:
            if self._opening is not None and reading.answer == self.adapter.opening:
                self.say(connection, self._opening, 0, connection.index)
            else:
                send(connection, reading.answer)
        kind = reading.kind
        if kind is Kind.MESSAGE or kind is Kind.REPLY:
            return reading
        if kind is Kind.GREETING:
            return self._greeted(connection, reading)
        if kind is Kind.REFUSAL:
            return self._refused(connection, reading)
        if kind is Kind.UNREADABLE:
            if self._is_raw:
                return reading
            connection.traffic.error(f"no message of {self.adapter.name}" if is_text else _stray(self.adapter))
        elif kind is Kind.HEARTBEAT and reading.message is not None and reading.message.id is not None:
            return reading  # the answer to one that was sent as a message
        return None

    def say(self, connection: LoadConnection, template: Template, number: int, row: int, stamp: str = "") -> None:
        """Send a message, number `number` of the run, with that row of the data."""
        plan, index = self._plan, connection.index
        values = self._rows[row % len(self._rows)] if self._rows else {}

        def value(name: str) -> str:
            match name:
                case "id" | "number":
                    return str(number)
                case "stamp":
                    return stamp
                case "connection":
                    return str(index)
                case "session":
                    return f"load-{plan.run_id}-{index % plan.sessions}"
                case "run":
                    return plan.run_id
                case "timestamp":
                    return str(now_ms())
                case "uuid":
                    return str(uuid.uuid4())
                case "pad":
                    return self._pad
            return values[name]

        connection.transport.send(TEXT if template.is_text else BINARY, template.fill(value))

    def _has_attachments(self, connection: LoadConnection, more: int) -> bool:
        """Note `more` attachments to come, -1 where one came; False for one that belongs to no message."""
        due = self._attachments.pop(connection, 0) + more
        if due > 0:
            self._attachments[connection] = due
        return due >= 0

    def _greeted(self, connection: LoadConnection, reading: Reading) -> Reading | None:
        if not connection.joined_ns:
            connection.greeted()
        elif self._may_greet_again:  # what was chosen as the greeting is a message like any other afterwards
            return reading
        else:
            connection.traffic.error("the greeting came twice")
        return None

    def _refused(self, connection: LoadConnection, reading: Reading) -> Reading | None:
        message = reading.message
        if not self._is_ours or message is None:
            connection.refuse("refused" if message is None else message.type)
            return None
        code = error_code(message) or message.type
        if not connection.joined_ns:
            connection.refuse(code)
        elif message.id is not None:
            return reading  # after the greeting it is an answer like any other
        else:
            connection.traffic.error(code)
        return None

    def _arm(self, connection: LoadConnection, interval_s: float) -> None:
        asyncio.get_running_loop().call_later(interval_s, self._beat, connection, interval_s)

    def _beat(self, connection: LoadConnection, interval_s: float) -> None:
        if connection.left_ns == 0 and self.adapter.heartbeat is not None:
            self._beats += 1
            send(connection, self.adapter.heartbeat.frame(f"hb{self._beats}"))
            self._arm(connection, interval_s)


def _stray(adapter: Adapter) -> str:
    return f"a binary frame that is none of {adapter.name}"


def send(connection: LoadConnection, frame: Frame) -> None:
    """Send a frame as it is."""
    if isinstance(frame, str):
        connection.transport.send(TEXT, frame.encode())
    else:
        connection.transport.send(BINARY, frame)

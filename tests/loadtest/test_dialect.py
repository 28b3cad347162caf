"""What the load of another protocol takes for a message of it, and what is told as none."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.dialogue import Dialogue
from loadtest.generator.dialect import Dialect
from tests.loadtest.driving import short_plan
from wscore.foreign import Kind, ProtocolName, ProtocolSettings


@dataclass(eq=False)
class Heard:
    """A connection that is its own traffic."""

    errors: list[str] = field(default_factory=list)

    @property
    def traffic(self) -> Heard:
        return self

    def error(self, text: str) -> None:
        self.errors.append(text)


def test_a_binary_frame_of_socketio_is_an_attachment_of_what_announced_it_or_an_error():
    plan = short_plan("ws://127.0.0.1:1/")
    dialect = Dialect(plan, Dialogue(ProtocolSettings(name=ProtocolName.SOCKETIO)))
    one, other = Heard(), Heard()

    def kind_of(connection: Heard, frame: str | bytes) -> Kind | None:
        is_text = isinstance(frame, str)
        reading = dialect.read(connection, frame.encode() if is_text else frame, is_text=is_text)
        return None if reading is None else reading.kind

    assert kind_of(one, '462-17[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]') is Kind.REPLY
    assert kind_of(other, b"stray") is None
    assert kind_of(one, b"first") is kind_of(one, b"second") is Kind.MESSAGE
    assert kind_of(one, b"third") is None
    assert kind_of(one, '451-["news",{"_placeholder":true,"num":0}]') is Kind.MESSAGE
    assert kind_of(one, b"its own") is Kind.MESSAGE
    assert one.errors == other.errors == ["a binary frame that is none of socketio"]
    assert kind_of(one, "45" + "9" * 5000 + '-["news"]') is None  # no packet has so many

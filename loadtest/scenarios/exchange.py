"""Messages and their replies in any protocol: the load of `heartbeat`, `soak` and `reconnect` beside wsctl's own."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from loadtest.dialogue import ReplyBy, question_of
from loadtest.generator.connections import LoadConnection, monotonic_ns
from loadtest.generator.dialect import Dialect
from loadtest.generator.dialing import Dialer
from loadtest.generator.messages import Part
from loadtest.generator.pairing import Issuer, Pairing, issuer_of
from loadtest.generator.schedule import Timetable
from loadtest.scenarios.heartbeat import HeartbeatConnection, HeartbeatTraffic
from loadtest.templates import read_template
from loadtest.wire import Plan
from wscore.envelope import Envelope
from wscore.foreign import Kind, Reading, error_code
from wscore.foreign.values import found, members_of, word_of
from wscore.text import neutralise, redact

FIRST_ID: Final = 1_000  # no protocol gives such a number to its own first messages
_NO_PAIR: Final = "a message, and none answers what was sent: see --reply, --reply-key, --reply-type and --id-key"
SHOWN: Final = 120  # bytes of a message that answers nothing
ECHO: Final = re.compile(rb"wsctl\.([0-9]+)\.")


class ExchangeTraffic(HeartbeatTraffic):
    """Every connection sends the messages of the plan in turn, and pairs what comes back as the plan says."""

    row = "message"

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        dialogue = plan.dialogue
        assert dialogue is not None
        self.dialect = Dialect(plan, dialogue)
        self.greeting = "greeting"
        self.number = FIRST_ID * processes + position
        columns = dialogue.rows[0] if dialogue.rows else ()
        lines = dialogue.messages or (question_of(dialogue.protocol.name),)
        self.templates = [read_template(line, self.dialect.adapter, "--message", columns) for line in lines]
        self.unpaired = 0  # messages that answer nothing
        self.first_unpaired = ""
        self.reply_by = self._reply_by(dialogue.reply_by)
        self.reply_type = dialogue.reply_type
        self.reply_path = (dialogue.reply_key or "id").split(".")
        is_in_order = self.reply_by is ReplyBy.ORDER
        self.pairing = Pairing(plan.reply_timeout_s, self.issuer_of, self.counts, in_order=is_in_order)
        self._timetable = Timetable(self, plan.rate, ExchangeConnection.send) if plan.rate else None

    def _reply_by(self, chosen: ReplyBy) -> ReplyBy:
        if chosen is not ReplyBy.AUTO:
            return chosen
        has_ids = all("id" in template.names for template in self.templates)
        return ReplyBy.ID if has_ids and self.dialect.adapter.pairs_by_id else ReplyBy.ORDER

    def new_connection(self, slot: int, index: int) -> ExchangeConnection:
        return ExchangeConnection(self, slot, index)

    def met(self, connection: LoadConnection) -> None:
        self.dialect.begin(connection)

    def issuer_of(self, key: str) -> Issuer:
        if not (key.isascii() and key.isdigit() and len(key) < 20) or int(key) < FIRST_ID * self.processes:
            return Issuer.NOBODY
        return issuer_of(int(key), self.number, self.position, self.processes)

    def key_of(self, payload: bytes, reading: Reading) -> str | None:
        """Return the id of what a message answers, None if it has none."""
        message = reading.message
        match self.reply_by:
            case ReplyBy.ID:
                # Where the protocol knows replies, what only names the request is none: the end of a subscription.
                is_reply = reading.kind is not Kind.MESSAGE or not self.dialect.is_private
                return message.id if message is not None and is_reply else None
            case ReplyBy.ECHO:
                echoed = ECHO.search(payload)
                return None if echoed is None else echoed[1].decode()
            case ReplyBy.KEY:
                members = None if message is None else members_of(message.data)
                return None if members is None else word_of(found(members, self.reply_path))
        return None

    def note_unpaired(self, payload: bytes) -> None:
        """Count a message that answers nothing."""
        self.unpaired += 1
        if not self.first_unpaired:
            text = neutralise(redact(payload[:SHOWN].decode(errors="replace")))
            self.first_unpaired = text + ("…" if len(payload) > SHOWN else "")

    def result(self, part: Part) -> None:
        super().result(part)
        if self.reply_by is ReplyBy.NONE:
            part.replies_expected = part.replies_received = 0
        elif self.unpaired and not self.counts.counted_received:
            self.counts.errors[f"{_NO_PAIR}; the first one: {self.first_unpaired}"] = self.unpaired
        elif self.reply_by is ReplyBy.ORDER and not self.dialect.is_private:
            part.unpaired = self.unpaired


class ExchangeConnection(HeartbeatConnection):
    """One connection that asks."""

    __slots__ = ()

    traffic: ExchangeTraffic

    def send(self, due_ns: int) -> None:
        traffic = self.traffic
        counts = traffic.counts
        number = traffic.number = traffic.number + traffic.processes
        now = monotonic_ns()
        is_counted = traffic.window_start_ns <= due_ns < traffic.window_end_ns
        counts.sent += 1
        if is_counted:
            counts.counted_sent += 1
        if traffic.reply_by is not ReplyBy.NONE:
            traffic.pairing.enter(str(number), (due_ns, now, is_counted, self))
        elif not traffic.is_open_model:
            asyncio.get_running_loop().call_later(max(traffic.think_s, 0.001), self.again)
        template = traffic.templates[number // traffic.processes % len(traffic.templates)]
        traffic.dialect.say(self, template, number, number, f"wsctl.{number}.")

    def text(self, payload: bytes) -> None:
        self._take(payload, self.traffic.dialect.read(self, payload, is_text=True))

    def binary(self, payload: bytes) -> None:
        self._take(payload, self.traffic.dialect.read(self, payload, is_text=False))

    def _take(self, payload: bytes, reading: Reading | None) -> None:
        traffic = self.traffic
        if reading is None:
            return
        message = reading.message
        if traffic.reply_type is not None and (message is None or message.type != traffic.reply_type):
            traffic.note_unpaired(payload)
            return
        is_answer = False
        if traffic.reply_by is ReplyBy.ORDER:
            is_answer = self.answered(None, is_private=False)
        elif (key := traffic.key_of(payload, reading)) is not None:
            is_answer = self.answered(key, is_private=traffic.dialect.is_private)
        if not is_answer:
            traffic.note_unpaired(payload)
        elif message is not None and (problem := problem_in(message)):
            traffic.error(problem)


def problem_in(message: Envelope) -> str:
    """Return why a reply says that something went wrong, nothing if it does not."""
    if message.type == "error":
        return error_code(message) or "an error as the reply"
    members = members_of(message.data) if bytes(message.data) else None
    if members is None:
        return ""
    if message.type == "phx_reply" and word_of(members.get("status")) not in ("ok", None):
        return f"a reply with the status {word_of(members.get('status'))}"
    errors = members.get("errors") if message.type == "next" else None
    return "a reply with errors" if errors is not None and bytes(errors) not in (b"null", b"[]") else ""

"""Pings and their pongs: the load of `heartbeat`, `soak` and `reconnect`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Set
from typing import Final

from loadtest.generator.connections import TEXT, LoadConnection, decode_envelope, fault_of, monotonic_ns
from loadtest.generator.dialect import PRIVATE
from loadtest.generator.dialing import Dialer
from loadtest.generator.messages import Part
from loadtest.generator.pairing import Issuer, Pairing, issuer_of
from loadtest.generator.schedule import Timetable
from loadtest.generator.traffic import Traffic
from loadtest.options import LoadOptions
from loadtest.scenarios.base import Scenario, SearchRange, name_of
from loadtest.summary import Summary
from loadtest.wire import LATENCY, SERVICE, Plan
from wscore.jsonvalues import NOT_JSON

_BARE: Final = len('{"timestamp":1700000000000,"pad":""}')


class HeartbeatTraffic(Traffic):
    """Every connection pings: by timetable in the open model, else after each pong and a pause."""

    shown = SERVICE
    row = "ping"

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self.number = position  # of the last ping: each process of the run has numbers of its own
        self.pairing = Pairing(plan.reply_timeout_s, self.issuer_of, self.counts)
        self.service: list[int] = []
        self.latency: list[int] = []
        self.warm: list[int] = []
        self.think_s = (plan.think_ms or 0) / 1000
        pad = max(0, plan.payload_bytes - _BARE)
        filling = b',"pad":"%s"' % (b"x" * pad) if pad else b""
        self.ping = b'{"type":"ping","timestamp":%%d,"data":{"timestamp":%%d%s},"id":"%%x"}' % filling
        self._timetable = Timetable(self, plan.rate, HeartbeatConnection.send) if plan.rate else None
        self.is_open_model = self._timetable is not None
        if self.is_open_model:
            self.shown = LATENCY

    def new_connection(self, slot: int, index: int) -> HeartbeatConnection:
        return HeartbeatConnection(self, slot, index)

    def begun(self) -> None:
        if self._timetable is not None:
            self._timetable.start(self.connections)

    def issuer_of(self, key: str) -> Issuer:
        """Tell who gave an id to a request, if anybody did so far."""
        try:
            number = int(key, 16)
        except ValueError:
            return Issuer.NOBODY
        return issuer_of(number, self.number, self.position, self.processes)

    def flush(self) -> None:
        for request in self.pairing.expired(monotonic_ns()):
            if not self.is_open_model:
                request[3].again_soon()
        service, self.service = self.service, []
        latency, self.latency = self.latency, []
        warm, self.warm = self.warm, []
        recorders, counts = self.recorders, self.counts
        recorders[SERVICE].record(service)
        recorders[LATENCY].record(latency)
        recorders[self.shown].observe(warm)
        counts.counted_received += len(service)
        counts.received += len(service) + len(warm)

    def result(self, part: Part) -> None:
        part.replies_expected = self.counts.counted_sent
        part.replies_received = self.counts.counted_received
        if self._timetable is not None:
            self.counts.unsent += self._timetable.backlog()
        part.replies_received += self.pairing.result(part, self.offset_ns)


class HeartbeatConnection(LoadConnection):
    """One connection that pings."""

    __slots__ = ()

    traffic: HeartbeatTraffic

    def ready(self) -> None:
        if not self.traffic.is_open_model:
            pause_s = self.traffic.think_s * random.random()  # noqa: S311
            asyncio.get_running_loop().call_later(pause_s, self.again)

    def again(self) -> None:
        """Send the next ping of the closed model."""
        now = monotonic_ns()
        if self.left_ns == 0 and now < self.traffic.window_end_ns:
            self.send(now)

    def send(self, due_ns: int) -> None:
        """Send a ping that was due then."""
        traffic = self.traffic
        counts = traffic.counts
        number = traffic.number = traffic.number + traffic.processes
        now = monotonic_ns()
        is_counted = traffic.window_start_ns <= due_ns < traffic.window_end_ns
        traffic.pairing.enter(f"{number:x}", (due_ns, now, is_counted, self))
        counts.sent += 1
        if is_counted:
            counts.counted_sent += 1
        milliseconds = (now + traffic.wall_ns) // 1_000_000
        self.transport.send(TEXT, traffic.ping % (milliseconds, milliseconds, number))

    def text(self, payload: bytes) -> None:
        try:
            envelope = decode_envelope(payload)
        except NOT_JSON:
            self.traffic.error(fault_of(payload))
            return
        if envelope.type != "pong":
            self.other(envelope)
            return
        self.answered(envelope.id)

    def answered(self, key: str | None, *, is_private: bool = True) -> bool:
        """Enter a reply; without a key it answers what was asked first. Tells whether it answers anything.

        One that is not private may be meant for everyone, so that whoever did not ask is not surprised by it.
        """
        now = monotonic_ns()
        traffic = self.traffic
        pairing, is_overdue = traffic.pairing, False
        request = pairing.pending.get(key)  # type: ignore[arg-type]
        if request is not None and request[3] is self:
            del pairing.pending[key]  # type: ignore[arg-type]
        else:
            found = pairing.odd(self, key, counts=is_private and now >= traffic.window_start_ns)
            if found is None:
                return False
            request, is_overdue = found
        due_ns, sent_ns, is_counted, _ = request
        if is_counted:
            service_ns = now - sent_ns
            traffic.service.append(service_ns)
            if service_ns > pairing.timeout_ns:
                pairing.is_late(self)
            if traffic.is_open_model:
                traffic.latency.append(now - due_ns)
        else:
            traffic.warm.append(now - due_ns)
        if not traffic.is_open_model and not is_overdue:
            self.again_soon()
        return True

    def again_soon(self) -> None:
        """Send the next ping of the closed model after its pause."""
        think_s = self.traffic.think_s
        if think_s:
            asyncio.get_running_loop().call_later(think_s, self.again)
        else:
            self.again()


class RoundTripScenario(Scenario):
    """What tests of round trips have in common."""

    traffic = HeartbeatTraffic

    def looks_for(self, protocol: str) -> Set[str]:
        # Of any JSON or text one that answers nothing may be meant for everyone.
        return self.faults if name_of(protocol) in PRIVATE else self.faults - {"duplicated", "misdelivered", "unknown"}

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        if summary.unpaired:
            yield (
                "hint",
                f"{summary.unpaired:,} more messages came than were asked for; replies are told by their order here, "
                "so any message counts as one: --reply-type, --reply-key or an {{id}} tell them apart",
            )

    def foreign_traffic(self) -> type[Traffic]:
        from loadtest.scenarios.exchange import ExchangeTraffic  # which builds on what is here

        return ExchangeTraffic


class HeartbeatScenario(RoundTripScenario):
    """Round trips over many connections."""

    name = "heartbeat"
    help = "Ping at a rate over many connections; measure the round trips."
    quick = LoadOptions(rate=1000, duration=5000, drain=1000)
    search = SearchRange()

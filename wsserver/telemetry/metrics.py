"""Everything that a server counts, by name, and as a scrape reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, Literal, NamedTuple

from wscore.codes import CloseCode, ErrorCode
from wscore.disconnects import CLOSED_BY_APP, DISCONNECTS
from wscore.messages import MESSAGES
from wsserver.telemetry.counters import Counter, Histogram, Key, Labelled, MessageCounter

PEER: Final = "peer"  # in place of a disconnect's name, where it is the peer that has ended a connection
# So many types that an app sends get a label of their own, beside wsctl's; the names may be made of what clients send.
SENT_TYPES: Final = 100
RULES: Final = 100  # rules that refuse a token: each is named in the code, and nowhere in one list

Kind = Literal["counter", "gauge", "histogram"]


class Drop(StrEnum):
    """Why a message went no further."""

    SLOW_READER = "slow-reader"
    RATE_LIMIT = "rate-limit"
    CLIENT_GONE = "client-gone"
    NO_ROOM = "no-room"
    NO_HANDLER = "no-handler"


class PendingDrop(StrEnum):
    """Why a connection was dropped before the end of its handshake."""

    CROWD = "crowd"
    TIMEOUT = "timeout"
    RATE = "rate"
    PROXY_HEADER = "proxy-header"


class Missed(StrEnum):
    """What a shared broker did not carry as it should."""

    NOT_STORED = "not-stored"  # its sender is told
    HERE_ONLY = "here-only"  # nobody in another process has it
    UNREADABLE = "unreadable"


class WebhookDrop(StrEnum):
    """Why an event did not reach a target of the webhooks, as far as this side knows."""

    NO_ROOM = "no-room"
    GIVEN_UP = "given-up"
    SHUTDOWN = "shutdown"


class BackendDecision(StrEnum):
    """What came of asking a backend whether a client may connect."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    CLIENT_GONE = "client-gone"
    CROWD = "crowd"  # more were to be asked about than may wait
    ADDRESS = "address"  # the same of one address
    TIMEOUT = "timeout"
    NO_ANSWER = "no-answer"
    BAD_ANSWER = "bad-answer"
    UNASKABLE = "unaskable"  # JSON cannot hold what it would be asked


class Sample(NamedTuple):
    """One number at the time of a scrape, in the terms of Prometheus.

    A histogram's are named after it, with `_bucket` and a label `le`, `_sum` and `_count`.
    """

    name: str
    help: str
    kind: Kind
    labels: dict[str, str]
    value: float

    @property
    def family(self) -> str:
        """The name that its help stands by."""
        return self.name.rpartition("_")[0] if self.kind == "histogram" else self.name


Numbers = Iterable[tuple[tuple[str, ...], float]]  # each with the values of its labels


@dataclass(frozen=True, slots=True)
class _Source:
    """Where numbers of one name are."""

    name: str
    help: str
    kind: Kind
    read: Callable[[], Numbers]
    labels: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return what its samples are called."""
        return (self.name,)

    def samples(self) -> Iterator[Sample]:
        """Yield what they are now."""
        for values, value in self.read():
            yield Sample(self.name, self.help, self.kind, dict(zip(self.labels, values, strict=True)), value)


@dataclass(frozen=True, slots=True)
class _Times:
    """Histograms of one name, by the value of a label or the only one."""

    name: str
    help: str
    read: Callable[[], Iterable[tuple[dict[str, str], Histogram]]]

    def names(self) -> tuple[str, ...]:
        """Return what their samples are called."""
        return f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum"

    def samples(self) -> Iterator[Sample]:
        """Yield what they are now."""
        bucket, counted, summed = self.names()
        for labels, histogram in self.read():
            count = 0
            for bound, count in histogram.buckets():
                yield Sample(bucket, self.help, "histogram", {**labels, "le": bound}, count)
            yield Sample(counted, self.help, "histogram", labels, count)
            yield Sample(summed, self.help, "histogram", labels, histogram.total_s)


class Recovered(StrEnum):
    """What became of a position that a client came back with."""

    WHOLE = "whole"  # it got everything since then
    LOST = "lost"  # it was told that it did not


class Metrics:
    """Everything that a server counts since its start."""

    def __init__(self) -> None:
        self._sources: list[_Source | _Times] = []
        self.received = Labelled(MessageCounter, MESSAGES)
        self.sent = Labelled(MessageCounter, MESSAGES, room=SENT_TYPES)
        both = {"in": self.received, "out": self.sent}
        self._by_direction(
            "wsctl_messages_total",
            "Messages that came in within the rate limit, and that were sent or published",
            both,
            lambda traffic: traffic.value,
        )
        self._by_direction("wsctl_message_bytes_total", "Bytes of these messages", both, lambda traffic: traffic.octets)
        self.delivered = self._counter("wsctl_deliveries_total", "Published messages, once for each receiver")
        self.delivered_bytes = self._counter("wsctl_delivery_bytes_total", "Bytes of these, framed")
        self.errors = self._labelled("wsctl_errors_total", "error messages sent", "code", known=tuple(ErrorCode))
        self.dropped = self._labelled(
            "wsctl_messages_dropped_total", "Messages that went no further", "reason", known=tuple(Drop)
        )
        self.opened = self._counter("wsctl_connections_opened_total", "Connections greeted with session_created")
        self.closed = self._labelled(
            "wsctl_connections_closed_total",
            "Connections that have ended",
            *("disconnect", "code"),
            known=[
                *((disconnect.name, str(int(disconnect.close_code))) for disconnect in DISCONNECTS.values()),
                *product((PEER, CLOSED_BY_APP.name), (str(code.value) for code in CloseCode)),
            ],
        )
        self.refused = self._labelled(
            "wsctl_connections_refused_total", "Connections refused", "disconnect", known=DISCONNECTS
        )
        self.auth_failures = self._labelled("wsctl_auth_failures_total", "Tokens refused", "rule", room=RULES)
        self.pending_dropped = self._labelled(
            "wsctl_handshakes_dropped_total",
            "Connections dropped before the end of their handshake",
            "reason",
            known=tuple(PendingDrop),
        )
        self.recoveries = self._labelled(
            "wsctl_recoveries_total", "Positions that clients came back with", "outcome", known=tuple(Recovered)
        )
        self.replayed = self._counter("wsctl_replayed_total", "Messages sent again to who came back")
        self.handlers_failed = self._counter("wsctl_handlers_failed_total", "Exceptions in handlers and hooks")
        self.handlers_cancelled = self._counter("wsctl_handlers_cancelled_total", "Handlers and hooks cut short")
        self.tasks_failed = self._counter("wsctl_tasks_failed_total", "Exceptions in background tasks")
        self.broker_missed = self._labelled(
            "wsctl_broker_missed_total",
            "Messages that a shared broker did not carry, or not to everybody",
            *("broker", "reason"),
        )
        self.unreadable_orders = self._counter(
            "wsctl_orders_unreadable_total", "What another process asked for and could not be read"
        )
        self.presence_unlisted = self._counter(
            "wsctl_presence_unlisted_total", "Users in other processes whom there was no room to list"
        )
        self.broker_losses = self._counter("wsctl_broker_losses_total", "Connections to the broker that were lost")
        self.webhook_sent = self._counter("wsctl_webhook_events_sent_total", "Events that a target has taken")
        self.webhook_retries = self._counter("wsctl_webhook_retries_total", "Requests that were sent again")
        self.webhook_dropped = self._labelled(
            "wsctl_webhook_events_dropped_total",
            "Events that a target was not told of, or did not say so",
            "reason",
            known=tuple(WebhookDrop),
        )
        self.backend_decisions = self._labelled(
            "wsctl_connecting_decisions_total",
            "Clients about which a backend was to decide",
            "outcome",
            known=tuple(BackendDecision),
        )
        self.backend_time = self._times("wsctl_connecting_seconds", "Until a backend has decided about a client")
        self.stalls = self._counter("wsctl_stalls_total", "Times that the event loop stood still")
        self.loop_lag = self._times("wsctl_loop_lag_seconds", "How late the event loop came to a timer")
        self.delivery_time = self._times(
            "wsctl_delivery_seconds", "From the first publish of a turn of the loop until all of it is written"
        )
        self.publish_time = self._times("wsctl_publish_seconds", "Until a shared broker has stored what is published")
        self.broker_time = self._times("wsctl_broker_roundtrip_seconds", "Until a broker that owed nothing answers")
        self.handler_time = Labelled(Histogram)
        self._sources.append(
            _Times(
                "wsctl_handler_seconds",
                "How long handlers took",
                lambda: [({"type": str(type)}, times) for type, times in tuple(self.handler_time.items())],
            )
        )

    def read(self, name: str, help: str, kind: Kind, read: Callable[[], float]) -> None:
        """Show a number too that is kept elsewhere: `read` returns it."""
        self._sources.append(_Source(name, help, kind, lambda: (((), read()),)))

    def read_by(self, label: str, name: str, help: str, kind: Kind, read: Callable[[], dict[str, float]]) -> None:
        """Show numbers too that are kept elsewhere: `read` returns them by the values of a label."""
        self._sources.append(
            _Source(name, help, kind, lambda: [((value,), number) for value, number in read().items()], (label,))
        )

    def collect(self) -> Iterator[Sample]:
        """Yield every number as it is now, those of one name together, and those of one histogram."""
        for source in self._sources:
            yield from source.samples()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the numbers of a name that have these labels; raises LookupError for an unknown name."""
        sources = [source for source in self._sources if name in source.names()]
        if not sources:
            raise LookupError(f"there is no metric {name}")
        samples = (sample for source in sources for sample in source.samples() if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def _counter(self, name: str, help: str) -> Counter:
        counter = Counter()
        self.read(name, help, "counter", lambda: counter.value)
        return counter

    def _times(self, name: str, help: str) -> Histogram:
        histogram = Histogram()
        self._sources.append(_Times(name, help, lambda: (({}, histogram),)))
        return histogram

    def _labelled(
        self, name: str, help: str, *labels: str, known: Iterable[Key] = (), room: int = 0
    ) -> Labelled[Counter]:
        counters = Labelled(Counter, known, room=room)

        def read() -> Numbers:
            for key, counter in tuple(counters.items()):
                yield (str(key),) if isinstance(key, str) else key, counter.value

        self._sources.append(_Source(name, help, "counter", read, labels))
        return counters

    def _by_direction(
        self, name: str, help: str, both: dict[str, Labelled[MessageCounter]], number: Callable[[MessageCounter], int]
    ) -> None:
        def read() -> Numbers:
            for direction, traffic in both.items():
                for type, counter in tuple(traffic.items()):
                    yield (direction, str(type)), number(counter)

        self._sources.append(_Source(name, help, "counter", read, ("direction", "type")))

"""What a server counts, by labels of which no client can make any; to count costs what adding to an int costs.

Whoever counts often looks its counter up beforehand and adds to its `value`. Nothing is kept in another form: a scrape
reads the numbers where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, NamedTuple

from wscore.codes import CloseCode, ErrorCode
from wscore.disconnects import CLOSED_BY_APP, DISCONNECTS
from wscore.messages import MESSAGES

OTHER: Final = "other"  # the label of whatever has none of its own
PEER: Final = "peer"  # in place of a disconnect's name, where it is the peer that has ended a connection
# So many types that an app sends get a label of their own, beside wsctl's; the names may be made of what clients send.
SENT_TYPES: Final = 100
RULES: Final = 100  # rules that refuse a token: each is named in the code, and nowhere in one list

Key = str | tuple[str, ...]


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


class Sample(NamedTuple):
    """One number at the time of a scrape, in the terms of Prometheus; `kind` is counter or gauge."""

    name: str
    help: str
    kind: str
    labels: dict[str, str]
    value: float


class Counter:
    """A number that only grows: to count is to add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Labelled(dict[Key, Counter]):
    """Counters by the value of a label, or by the values of several.

    Each of `known` has its counter from the start on, and those that `know` names; the first values beyond get theirs
    while there is `room`. The rest is counted together: its last value becomes OTHER.
    """

    __slots__ = ("_room",)

    def __init__(self, known: Iterable[Key] = (), *, room: int = 0) -> None:
        super().__init__((key, Counter()) for key in known)
        self._room = room

    def __missing__(self, key: Key) -> Counter:
        if self._room:
            self._room -= 1
            return self.know(key)
        return self.know(OTHER if isinstance(key, str) else (*key[:-1], OTHER))

    def know(self, key: Key) -> Counter:
        """Return a counter of its own for a value that no client can choose."""
        return self.setdefault(key, Counter())


@dataclass(frozen=True, slots=True)
class _Source:
    """Where numbers of one name are; `fixed` labels are the same for all of them."""

    name: str
    help: str
    kind: str
    read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]
    labels: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()

    def samples(self) -> Iterator[Sample]:
        """Yield what they are now."""
        for values, value in self.read():
            labels = {**dict(self.fixed), **dict(zip(self.labels, values, strict=True))}
            yield Sample(self.name, self.help, self.kind, labels, value)


class Recovered(StrEnum):
    """What became of a position that a client came back with."""

    WHOLE = "whole"  # it got everything since then
    LOST = "lost"  # it was told that it did not


class Metrics:
    """Everything that a server counts since its start."""

    def __init__(self) -> None:
        self._sources: list[_Source] = []
        messages = (
            "wsctl_messages_total",
            "Messages that came in within the rate limit, and that were sent or published",
        )
        self.received = self._labelled(*messages, "type", known=MESSAGES, direction="in")
        self.sent = self._labelled(*messages, "type", known=MESSAGES, room=SENT_TYPES, direction="out")
        self.delivered = self._counter("wsctl_deliveries_total", "Published messages, once for each receiver")
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
            "reason",
            known=tuple(Missed),
        )
        self.unreadable_orders = self._counter(
            "wsctl_orders_unreadable_total", "What another process asked for and could not be read"
        )
        self.presence_unlisted = self._counter(
            "wsctl_presence_unlisted_total", "Users in other processes whom there was no room to list"
        )
        self.stalls = self._counter("wsctl_stalls_total", "Times that the event loop stood still")

    def read(self, name: str, help: str, kind: str, read: Callable[[], float]) -> None:
        """Show a number too that is kept elsewhere: `read` returns it."""
        self._sources.append(_Source(name, help, kind, lambda: (((), read()),)))

    def collect(self) -> Iterator[Sample]:
        """Yield every number as it is now, those of one name together."""
        for source in self._sources:
            yield from source.samples()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the numbers of a name that have these labels; raises LookupError for an unknown name."""
        sources = [source for source in self._sources if source.name == name]
        if not sources:
            raise LookupError(f"there is no metric {name}")
        samples = (sample for source in sources for sample in source.samples())
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def _counter(self, name: str, help: str) -> Counter:
        counter = Counter()
        self.read(name, help, "counter", lambda: counter.value)
        return counter

    def _labelled(
        self, name: str, help: str, *labels: str, known: Iterable[Key] = (), room: int = 0, **fixed: str
    ) -> Labelled:
        counters = Labelled(known, room=room)

        def read() -> Iterable[tuple[tuple[str, ...], float]]:
            for key, counter in tuple(counters.items()):
                yield (str(key),) if isinstance(key, str) else key, counter.value

        self._sources.append(_Source(name, help, "counter", read, labels, tuple(fixed.items())))
        return counters

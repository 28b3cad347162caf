"""What the processes of one run tell each other: commands to those that drive, snapshots and results from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.generator.flights import Landed
from loadtest.ledger import NEVER, PublisherLog, Streak
from loadtest.wire import Generator, Plan, StepLedger
from wscore.text import neutralise, redact

MAX_TEXTS: Final = 200  # kinds of what a target words itself, a process: errors, and reasons of closing
OTHERS: Final = "others"


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Start traffic: message number m of all is due at `start_ns` plus m / rate; `connections` share it."""

    start_ns: int
    connections: int


class Window(msgspec.Struct, frozen=True, tag=True):
    """Count what is due from `start_ns` to `end_ns`, and send nothing that is due later; sent again to end early."""

    start_ns: int
    end_ns: int


class DropConnections(msgspec.Struct, frozen=True, tag=True):
    """Cut every connection at `at_ns`, and connect again at once."""

    at_ns: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Report what came of it."""


class Assign(msgspec.Struct, frozen=True, tag=True):
    """Get ready for a share of the plan: connections `position`, `position` + `processes` and so on."""

    plan: Plan
    position: int
    processes: int
    machine: str  # the master's


class Time(msgspec.Struct, frozen=True, tag=True):
    """The clock of the run, `now_ns`, to a worker that asked when its own was `asked`."""

    asked: int
    now_ns: int


Command = Begin | Window | DropConnections | Finish | Assign | Time


class Counts(msgspec.Struct):
    """What became of the connections and messages of one process, or of several together, since the start.

    The counted ones belong to the window, and so do those `unsent`: what was due when its connection had failed or was
    lost. `errors` are by text, `close_codes` by number, `close_reasons` by number and what the target said, `faults` by
    their name in the ledger; `workers` are the connections opened by the server's worker that took them.
    """

    connected: int = 0
    peak: int = 0
    opened: int = 0
    failed: int = 0
    lost: int = 0
    resumed: int = 0
    resumes: int = 0  # connections that came back with a position
    unrecovered: int = 0  # how often the server said that history is gone
    replayed: int = 0
    events: int = 0  # of sessions, counted by their seq
    events_lost: int = 0
    events_doubled: int = 0
    events_confirmed: int = 0  # connections that came back and then got an event, so that no end is missing
    awaited: int = 0  # connections that are to come back, or callers that wait for an answer
    sent: int = 0
    received: int = 0
    unsent: int = 0
    counted_sent: int = 0
    counted_received: int = 0
    late_sends: int = 0
    heartbeats_missed: int = 0
    missing: int = 0  # what has not come so far, though what was sent after it has
    faults: dict[str, int] = {}
    errors: dict[str, int] = {}
    close_codes: dict[str, int] = {}
    close_reasons: dict[str, int] = {}
    workers: dict[int, int] = {}

    def add(self, other: Counts) -> None:
        """Add what another process counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _DICTS:
            own = getattr(self, name)
            for key, count in getattr(other, name).items():
                own[key] = own.get(key, 0) + count

    def copy(self) -> Counts:
        """Return the counts of this moment."""
        return msgspec.structs.replace(self, **{name: getattr(self, name).copy() for name in _DICTS})

    def fault(self, name: str) -> None:
        """Count what is wrong with a message, by its name in the ledger."""
        self.faults[name] = self.faults.get(name, 0) + 1

    def error(self, text: str) -> None:
        """Count something that the target is to blame for."""
        _count(self.errors, text)

    def closed(self, code: int, reason: bytes = b"") -> None:
        """Count a close code that the target sent, and what it said with it."""
        number = str(int(code))
        self.close_codes[number] = self.close_codes.get(number, 0) + 1
        words = neutralise(redact(reason.decode(errors="replace")))
        _count(self.close_reasons, f"{number} {words}" if words else number, f"{number} {OTHERS}")


def _count(counts: dict[str, int], text: str, other: str = OTHERS) -> None:
    """Add to a text's count, or to that of the `other` ones where there are too many already."""
    if text not in counts and len(counts) >= MAX_TEXTS:
        text = other
    counts[text] = counts.get(text, 0) + 1


_DICTS = ("errors", "close_codes", "close_reasons", "faults", "workers")
_NUMBERS = tuple(name for name in Counts.__struct_fields__ if name not in _DICTS)


class Snapshot(msgspec.Struct):
    """The state of one process, once a second; `latencies` (µs, rounded, each with its count) are new ones.

    Those are of what people see, `others` of all kinds by their names.
    """

    counts: Counts = msgspec.field(default_factory=Counts)
    latencies: dict[int, int] = {}
    others: dict[str, dict[int, int]] = {}
    max_us: int = 0
    cpu_percent: float = 0.0


class Part(msgspec.Struct):
    """What one process measured; a histogram is in the library's own encoding.

    `streaks` are with the numbers of the connections that had each of them; `faults` are those of a connection, as
    (number, counts by their name in the ledger); `unanswered` is when (ns of the clock of the run) a connection sent
    each of the requests in the window that had no reply.
    """

    counts: Counts = msgspec.field(default_factory=Counts)
    all_lost_ns: int = 0
    histograms: dict[str, str] = {}
    logs: list[PublisherLog] = []
    streaks: list[tuple[Streak, list[int]]] = []
    landed: Landed | None = None
    faults: list[tuple[int, dict[str, int]]] = []
    unanswered: dict[int, list[int]] = {}
    steps: dict[str, StepLedger] = {}
    marks: int = 0
    unpaired: int = 0
    replies_expected: int = 0
    replies_received: int = 0
    duplicated: int = 0
    reordered: int = 0
    away_ns: int = 0  # how long connections were missing in the window, all together
    late: int = 0
    misdelivered: int = 0
    unknown: int = 0
    corrupt: int = 0
    generator: Generator = Generator()
    clock_uncertainty_us: float = 0.0

    def add_faults(self, index: int, faults: Mapping[str, int]) -> None:
        """Add what was wrong with the messages that came to a connection."""
        self.faults.append((index, dict(faults)))
        for name, count in faults.items():
            setattr(self, name, getattr(self, name) + count)


FOREVER = Window(NEVER, NEVER)

"""What the processes of one run tell each other: commands to those that drive, snapshots and results from them."""

from __future__ import annotations

import msgspec

from loadtest.ledger import NEVER, PublisherLog, Streak
from loadtest.wire import Generator, Plan


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
    lost. `errors` are by text, `close_codes` by number.
    """

    connected: int = 0
    peak: int = 0
    opened: int = 0
    failed: int = 0
    lost: int = 0
    resumed: int = 0
    awaited: int = 0  # connections that are to come back, or callers that wait for an answer
    sent: int = 0
    received: int = 0
    unsent: int = 0
    counted_sent: int = 0
    counted_received: int = 0
    late_sends: int = 0
    heartbeats_missed: int = 0
    errors: dict[str, int] = {}
    close_codes: dict[str, int] = {}

    def add(self, other: Counts) -> None:
        """Add what another process counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for own, theirs in ((self.errors, other.errors), (self.close_codes, other.close_codes)):
            for key, count in theirs.items():
                own[key] = own.get(key, 0) + count

    def copy(self) -> Counts:
        """Return the counts of this moment."""
        return msgspec.structs.replace(self, errors=self.errors.copy(), close_codes=self.close_codes.copy())

    def error(self, text: str) -> None:
        """Count something that the target is to blame for."""
        self.errors[text] = self.errors.get(text, 0) + 1

    def closed(self, code: int) -> None:
        """Count a close code that the target sent."""
        self.close_codes[str(int(code))] = self.close_codes.get(str(int(code)), 0) + 1


_NUMBERS = tuple(name for name in Counts.__struct_fields__ if name not in ("errors", "close_codes"))


class Snapshot(msgspec.Struct):
    """The state of one process, once a second; `latencies` (µs, rounded, each with its count) are new ones."""

    counts: Counts = msgspec.field(default_factory=Counts)
    latencies: dict[int, int] = {}
    max_us: int = 0
    cpu_percent: float = 0.0


class Part(msgspec.Struct):
    """What one process measured; a histogram is in the library's own encoding."""

    counts: Counts = msgspec.field(default_factory=Counts)
    all_lost_ns: int = 0
    histograms: dict[str, str] = {}
    logs: list[PublisherLog] = []
    streaks: list[tuple[Streak, int]] = []
    replies_expected: int = 0
    replies_received: int = 0
    duplicated: int = 0
    reordered: int = 0
    away_ns: int = 0  # how long connections were missing in the window, all together
    late: int = 0
    misdelivered: int = 0
    unknown: int = 0
    generator: Generator = Generator()
    clock_uncertainty_us: float = 0.0


FOREVER = Window(NEVER, NEVER)

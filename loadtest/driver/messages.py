"""What the processes of one run tell each other: commands to those that drive, snapshots and results from them."""

from __future__ import annotations

import msgspec

from loadtest.ledger import NEVER, PublisherLog, Streak
from loadtest.wire import Plan


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Start traffic: message number m of all is due at `start_ns` plus m / rate; `connections` share it."""

    start_ns: int
    connections: int


class Window(msgspec.Struct, frozen=True, tag=True):
    """Count what is due from `start_ns` to `end_ns`, and send nothing that is due later; sent again to end early."""

    start_ns: int
    end_ns: int


class Drop(msgspec.Struct, frozen=True, tag=True):
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


Command = Begin | Window | Drop | Finish | Assign | Time


class Snapshot(msgspec.Struct):
    """The state of one process, once a second. Counts are since the start, `latencies` (µs, rounded) new ones."""

    connected: int = 0
    opened: int = 0
    failed: int = 0
    lost: int = 0
    sent: int = 0
    received: int = 0
    errors: int = 0
    awaited: int = 0  # connections that are to come back
    latencies: dict[int, int] = {}
    max_us: int = 0
    cpu_percent: float = 0.0
    top_error: str = ""


class GeneratorPart(msgspec.Struct):
    """How one process fared."""

    cpu_percent: float = 0.0
    lag_p99_us: float = 0.0
    lag_max_us: float = 0.0
    open_files: int = 0
    file_limit: int = 0
    receive_floor_us: float = 0.0
    late_sends: int = 0


class Part(msgspec.Struct):
    """What one process measured; a histogram is in the library's own encoding."""

    peak_connections: int = 0
    opened: int = 0
    failed: int = 0
    lost: int = 0
    sent: int = 0
    received: int = 0
    errors: dict[str, int] = {}
    close_codes: dict[str, int] = {}
    all_lost_ns: int = 0
    resumed: int = 0
    heartbeats_missed: int = 0
    histograms: dict[str, str] = {}
    logs: list[PublisherLog] = []
    streaks: list[tuple[Streak, int]] = []
    replies_expected: int = 0
    replies_received: int = 0
    duplicated: int = 0
    reordered: int = 0
    generator: GeneratorPart = msgspec.field(default_factory=GeneratorPart)
    clock_uncertainty_us: float = 0.0


FOREVER = Window(NEVER, NEVER)

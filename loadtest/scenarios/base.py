"""What a scenario is: everything that one kind of load test has of its own, in one place.

A scenario is one file beside this one, and one row in `SCENARIOS`. Commands, plans, the driver, rules and reports ask
it; none of them knows one by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Final

from loadtest.faults import ALL_FAULTS, FAULTS
from loadtest.generator.traffic import Traffic
from loadtest.options import LoadOptions, ramp_s
from loadtest.stages import parse_stages
from loadtest.summary import Summary
from loadtest.wire import Plan
from wscore.errors import ConfigError
from wscore.units import format_figure

NO_FAILURES: Final = ("errors<=0", "failed_connections<=0", "lost_connections<=0")
REPLY_FAULTS: Final = ALL_FAULTS - {"reordered", "corrupt"}  # of requests: a server may answer the second one first


def name_of(protocol: str) -> str:
    """Return the name in what a summary says of a protocol, which may go on with what told that."""
    return protocol.partition(",")[0]


class FileKind(Enum):
    """What a file holds that a scenario plays."""

    RECORDING = auto()  # of a client: read as SentMessages
    SCENARIO = auto()  # of Python: its absolute path
    SPEECH = auto()  # WAV: read as CallerSpeech


@dataclass(frozen=True, slots=True)
class FileArgument:
    """A file that a scenario plays, and how the help calls it."""

    kind: FileKind
    metavar: str
    help: str


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Where `find-max` looks: (start, ceiling) of the connections and of the rate, None where it cannot be raised.

    `unit` is what connections are called; times in ms.
    """

    connections: tuple[int, int] = (100, 20_000)
    rate: tuple[int, int] | None = (1000, 1_000_000)
    duration_ms: int = 5_000
    drain_ms: int = 2_000
    unit: str = "connections"


class Scenario:
    """One kind of load test; the attributes are what most of them have in common."""

    name: ClassVar[str]
    help: ClassVar[str]
    options: ClassVar[type[Any]] = LoadOptions
    traffic: ClassVar[type[Traffic]]
    asks: ClassVar[bool] = True  # its messages have replies; else they go to everyone, with a stamp in each
    file: ClassVar[FileArgument | None] = None
    user: ClassVar[str] = "connection"
    server_options: ClassVar[tuple[str, ...]] = ()  # of `wsctl serve`, for --serve
    # What `latency` is called in rules and in reports, and the latencies that only this scenario has.
    latency_rule: ClassVar[str] = "rtt"
    latency_title: ClassVar[str] = "round trip"
    latencies: ClassVar[Mapping[str, str]] = {}
    counts: ClassVar[Mapping[str, Callable[[Summary], float | None]]] = {}  # rules about numbers that only this one has
    latency_rules: ClassVar[Sequence[str]] = ("latency.p99<100ms",)  # where no rules are given and some are needed
    faults: ClassVar[Set[str]] = REPLY_FAULTS  # those of the ledger that it looks for
    quick: ClassVar[Any] = None  # its options in the quick test, if it belongs to that
    search: ClassVar[SearchRange | None] = None
    storms: ClassVar[bool] = False  # all connections are cut after the window, and come back
    awaits_answers: ClassVar[bool] = False  # answers may take as long as the drain, so that is a limit and not a pause

    def rules_for(self, protocol: str) -> tuple[str, ...]:
        """Return the rules where none are given and some are needed: it is quick enough, and nothing goes wrong."""
        looked_for = self.looks_for(protocol)
        nothing_wrong = (f"{fault.rule}<=0" for fault in FAULTS if fault.field in looked_for)
        return (*self.latency_rules, *NO_FAILURES, *nothing_wrong)

    def looked_for(self, summary: Summary) -> Set[str]:
        """Return the faults that a run could find."""
        return self.looks_for(summary.protocol)

    def looks_for(self, protocol: str) -> Set[str]:
        """Return the faults that it can find with a server that speaks `protocol`, as a summary names that."""
        return self.faults

    def traffic_of(self, plan: Plan) -> type[Traffic]:
        """Return what makes its load; the choice is made once a run, so that wsctl's own protocol pays for no other."""
        foreign = None if plan.dialogue is None else self.foreign_traffic()
        return foreign or self.traffic

    def foreign_traffic(self) -> type[Traffic] | None:
        """Return what makes the same load with servers of other protocols, None if that means nothing to them."""
        return None

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        """Return the fields of the plan that the options, and the content of its file, make.

        Raises ConfigError for what contradicts itself.
        """
        if options.rate is not None and options.think is not None:
            raise ConfigError("--think", "--rate is given too", "a run has either a rate or a pause after each reply")
        stages = parse_stages(options.stages) if options.stages else ()
        connections = max((stage.connections for stage in stages), default=options.connections)
        rate = options.rate
        if rate is None and options.think is None:
            rate = self.default_rate(options, connections)
        return {
            "connections": connections,
            "rate": rate,
            "think_ms": None if options.think is None else float(options.think),
            "payload_bytes": options.payload_bytes,
            "ramp_s": ramp_s(options.ramp, connections),
            "duration_s": sum(stage.seconds for stage in stages) or options.duration / 1000,
            "drain_s": options.drain / 1000,
            "stages": stages,
        }

    def check(self, plan: Plan) -> None:
        """Raise ConfigError for a plan whose options contradict each other beyond what `plan_fields` sees."""

    def default_rate(self, options: Any, connections: int) -> float | None:
        """Return the messages a second of a run that names neither rate nor pause."""
        return float(connections)

    def probe_query(self, plan: Plan) -> dict[str, str]:
        """Return what the URL of the connection before the run carries beside the token."""
        return {}

    def title_parts(self, plan: Plan) -> Iterator[str]:
        """Yield what is about to happen, beside the target and the number of connections."""
        if plan.rate is not None:
            yield f"{format_figure(plan.rate, 10)} messages/s"
        if plan.think_ms is not None:
            yield f"{format_figure(plan.think_ms)} ms of thought"

    def doubts(self, summary: Summary) -> Iterator[str]:
        """Yield why a run's figures say nothing."""
        return iter(())

    def failures(self, summary: Summary) -> Iterator[str]:
        """Yield what went wrong that only this scenario counts; asked where there are no rules."""
        return iter(())

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        """Yield figures of a run that only this scenario has, as (name, value)."""
        return iter(())

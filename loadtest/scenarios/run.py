"""People's own Locust users as the load, judged and reported like all others."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec

from loadtest.generator.traffic import Traffic
from loadtest.generator.usertraffic import UserTraffic
from loadtest.options import RAMP, count, milliseconds, ramp_s
from loadtest.scenarios.base import FileArgument, FileKind, Scenario, name_of
from loadtest.summary import Summary
from wscore.foreign import ProtocolName

MARKED: Final = frozenset(("late", "duplicated", "reordered", "misdelivered", "unknown", "corrupt"))  # told by marks
WORST_SHOWN: Final = 5


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How many users, and for how long."""

    TITLE: ClassVar = "Load"

    connections: Annotated[int, count("Users to run.")] = 10
    ramp: Annotated[int | None, RAMP] = None
    duration: Annotated[int, milliseconds("What is measured; the ramp is not.", "10s")] = 10_000
    drain: Annotated[int, milliseconds("Time for users to end what they wait for.", "2s")] = 2_000


class RunScenario(Scenario):
    """Users that do what a file of Python says."""

    name = "run"
    help = "Run your own Locust users, from a file of Python."
    options = RunOptions
    traffic = UserTraffic
    file = FileArgument(FileKind.SCENARIO, "SCENARIO.py", "A file with Locust users.")
    user = "user"
    faults = frozenset(("lost", "late", "duplicated", "misdelivered"))  # its users alone know what else they expect
    latency_rule = "step"
    latency_title = "waiting for a message"

    def looks_for(self, protocol: str) -> Set[str]:
        return self.faults if name_of(protocol) == ProtocolName.WSCTL else frozenset(("lost",))

    def looked_for(self, summary: Summary) -> Set[str]:
        return super().looked_for(summary) | (MARKED if summary.marks else frozenset())

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        if summary.marks and summary.ledger.misdelivered:
            yield "hint", "a mark of one user came to another: mark(shared=True) is for what others get too"
        lost = [(name, step) for name, step in summary.steps.items() if step.lost]
        if not lost:
            return
        told = [f"{name} {step.lost:,} of {step.expected:,}" for name, step in lost[:WORST_SHOWN]]
        more = [f"and {len(lost) - WORST_SHOWN} more steps"] if len(lost) > WORST_SHOWN else []
        yield "lost steps", ", ".join((*told, *more))

    def foreign_traffic(self) -> type[Traffic]:
        return UserTraffic

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        script: Path = content
        return {
            "connections": options.connections,
            "ramp_s": ramp_s(options.ramp, options.connections),
            "duration_s": options.duration / 1000,
            "drain_s": options.drain / 1000,
            "script": str(script),
        }

"""Many connections that do little, for long: memory and heartbeats are what matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from loadtest.options import LoadOptions, count, milliseconds, per_second
from loadtest.scenarios.heartbeat import RoundTripScenario
from loadtest.summary import Summary

PING_EVERY_S: Final = 10


class SoakOptions(LoadOptions, frozen=True, kw_only=True):
    """As LoadOptions, for longer."""

    connections: Annotated[int, count("Connections to hold.")] = 1000
    rate: Annotated[float | None, per_second("Pings a second in all.", "1 per connection in 10s")] = None
    duration: Annotated[int, milliseconds("How long to hold them.", "10m")] = 600_000


class SoakScenario(RoundTripScenario):
    """Heartbeats, few and for long."""

    name = "soak"
    help = "Hold connections for long; watch heartbeats and memory."
    options = SoakOptions

    def default_rate(self, options: Any, connections: int) -> float:
        return connections / PING_EVERY_S

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        yield from super().facts(summary)
        yield "heartbeats", f"{summary.heartbeats_missed:,} missed"

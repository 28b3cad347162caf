"""A storm: all connections are cut at once, and come back."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.scenarios.heartbeat import RoundTripScenario
from loadtest.summary import Summary


class ReconnectScenario(RoundTripScenario):
    """Heartbeats, then the storm."""

    name = "reconnect"
    help = "Drop all connections at once; measure until all are back."
    storms = True

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        yield "resumed", f"{summary.connections.resumed:,}"

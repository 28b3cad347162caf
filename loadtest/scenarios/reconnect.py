"""A storm: all connections are cut at once, and come back."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.scenarios.base import Scenario
from loadtest.scenarios.heartbeat import HeartbeatTraffic
from loadtest.summary import Summary


class ReconnectScenario(Scenario):
    """Heartbeats, then the storm."""

    name = "reconnect"
    help = "Drop all connections at once; measure until all are back."
    traffic = HeartbeatTraffic
    storms = True

    def facts(self, summary: Summary) -> Iterator[tuple[str, str]]:
        yield "resumed", f"{summary.connections.resumed:,}"

"""The kinds of load test, one row each."""

from __future__ import annotations

from typing import Final

from loadtest import wire
from loadtest.scenarios.base import Scenario
from loadtest.scenarios.broadcast import Broadcast
from loadtest.scenarios.heartbeat import Heartbeat
from loadtest.scenarios.reconnect import Reconnect
from loadtest.scenarios.replay import Replay
from loadtest.scenarios.soak import Soak
from loadtest.scenarios.voice import Voice

_ROWS: Final[tuple[Scenario, ...]] = (Heartbeat(), Broadcast(), Reconnect(), Soak(), Replay(), Voice())

SCENARIOS: Final[dict[str, Scenario]] = {scenario.name: scenario for scenario in _ROWS}

# Every latency in the order of reports, with what it is called there; `latency` itself each scenario names by itself.
LATENCY_TITLES: Final[dict[str, str]] = {
    wire.LATENCY: "",
    wire.SERVICE: "from the sending",
    **{name: title for scenario in _ROWS for name, title in scenario.latencies.items()},
    wire.CONNECT: "connecting",
    wire.RECONNECT: "until back",
}

"""The kinds of load test, one row each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loadtest import wire
from loadtest.scenarios.base import Scenario
from loadtest.scenarios.broadcast import BroadcastScenario
from loadtest.scenarios.heartbeat import HeartbeatScenario
from loadtest.scenarios.reconnect import ReconnectScenario
from loadtest.scenarios.replay import ReplayScenario
from loadtest.scenarios.run import RunScenario
from loadtest.scenarios.soak import SoakScenario
from loadtest.scenarios.voice import VoiceScenario

_ROWS: Final[tuple[Scenario, ...]] = (
    HeartbeatScenario(),
    BroadcastScenario(),
    ReconnectScenario(),
    SoakScenario(),
    ReplayScenario(),
    VoiceScenario(),
    RunScenario(),
)

SCENARIOS: Final[dict[str, Scenario]] = {scenario.name: scenario for scenario in _ROWS}

# Every latency in the order of reports, with what it is called there; `latency` itself each scenario names by itself.
LATENCY_TITLES: Final[dict[str, str]] = {
    wire.LATENCY: "",
    wire.SERVICE: "from the sending",
    **{name: title for scenario in _ROWS for name, title in scenario.latencies.items()},
    wire.CONNECT: "connecting",
    wire.RECONNECT: "until back",
}


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of latencies in the order of reports; steps of people's own users come last."""
    found = set(names)
    return [*(name for name in LATENCY_TITLES if name in found), *sorted(found - LATENCY_TITLES.keys())]

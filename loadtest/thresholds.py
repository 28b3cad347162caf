"""Rules such as `delivery.p99<50ms`: read, and held against a run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest import wire
from loadtest.scenarios import SCENARIOS
from loadtest.summary import Check, Summary
from wscore.errors import ConfigError

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
# Whatever a scenario calls its main latency means that.
MAIN_LATENCY: Final = frozenset(("latency", *(scenario.latency_rule for scenario in SCENARIOS.values())))
_LATENCIES: Final = {
    **dict.fromkeys(sorted(MAIN_LATENCY), wire.LATENCY),
    **{name: name for name in (wire.SERVICE, wire.CONNECT, wire.RECONNECT)},
    **{name: name for scenario in SCENARIOS.values() for name in scenario.latencies},
}
_STATISTICS: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max", "mean")
_TIME_UNITS: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
COUNTS: Final[dict[str, Callable[[Summary], float]]] = {
    "rate": lambda summary: summary.sent_per_s,
    "received_rate": lambda summary: summary.received_per_s,
    "loss": lambda summary: summary.loss,
    "lost": lambda summary: summary.ledger.lost,
    "duplicates": lambda summary: summary.ledger.duplicated,
    "reorders": lambda summary: summary.ledger.reordered,
    "errors": lambda summary: sum(summary.errors.values()),
    "failed_connections": lambda summary: summary.connections.failed,
    "lost_connections": lambda summary: summary.connections.lost,
    "missed_heartbeats": lambda summary: summary.heartbeats_missed,
    **{name: figure for scenario in SCENARIOS.values() for name, figure in scenario.counts.items()},
}
_RULE: Final = re.compile(r"\s*([a-z_]+(?:\.[a-z0-9.]+)?)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zµ%]*)\s*")


@dataclass(frozen=True, slots=True)
class Threshold:
    """One rule; `limit` is in microseconds for a latency, a ratio for `loss`, else a count or a rate."""

    text: str
    metric: str
    compares: str
    limit: float

    def holds(self, value: float) -> bool:
        """Tell whether a value keeps the rule."""
        return _OPERATORS[self.compares](value, self.limit)

    @property
    def unit(self) -> str:
        """The unit of `limit`: us, ratio, or nothing for a plain number."""
        return "us" if "." in self.metric else "ratio" if self.metric == "loss" else ""

    def actual(self, summary: Summary) -> float | None:
        """Return the run's value in the unit of `limit`; None if nothing of the kind was measured."""
        if self.metric in COUNTS:
            return COUNTS[self.metric](summary)
        family, _, statistic = self.metric.partition(".")
        found = summary.latencies.get(_LATENCIES[family])
        if found is None:
            return None
        if statistic in ("max", "mean"):
            return found.max_us if statistic == "max" else found.mean_us
        return found.percentile_us(float(statistic[1:]))

    def __str__(self) -> str:
        return self.text


def parse_threshold(text: str) -> Threshold:
    """Read a rule `METRIC OP NUMBER[UNIT]`; raises ConfigError saying what is wrong and what could stand there."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise _wrong(text, "is not METRIC<NUMBER", "write it as delivery.p99<50ms")
    metric, compares, number, unit = match.groups()
    family, _, statistic = metric.partition(".")
    if metric in COUNTS:
        if unit not in ("", "%") or (unit == "%" and metric != "loss"):
            raise _wrong(text, f"{metric} has no unit {unit!r}", "write a plain number")
        return Threshold(text, metric, compares, float(number) / (100 if unit == "%" else 1))
    if family not in _LATENCIES:
        known = ", ".join([*(f"{name}.p99" for name in _LATENCIES), *COUNTS])
        raise _wrong(text, f"there is no metric {metric!r}", f"there are {known}")
    if statistic not in _STATISTICS:
        raise _wrong(text, f"{family} has no {statistic or 'value of its own'!r}", f"it has {', '.join(_STATISTICS)}")
    if unit not in _TIME_UNITS:
        raise _wrong(text, f"{number}{unit} is not a time", "write us, ms or s behind the number")
    return Threshold(text, metric, compares, float(number) * _TIME_UNITS[unit])


def check_rules(thresholds: Sequence[Threshold], summary: Summary) -> tuple[Check, ...]:
    """Hold rules against a run."""
    checks = []
    for threshold in thresholds:
        actual = threshold.actual(summary)
        passed = actual is not None and threshold.holds(actual)
        checks.append(
            Check(threshold.text, None if actual is None else float(actual), threshold.limit, passed, threshold.unit)
        )
    return tuple(checks)


def _wrong(text: str, problem: str, mend: str) -> ConfigError:
    return ConfigError(f"--threshold {text!r}", problem, mend)

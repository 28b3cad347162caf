"""Rules such as `delivery.p99<50ms`: read, and held against a run."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from loadtest import wire
from loadtest.faults import FAULTS
from loadtest.scenarios import SCENARIOS
from loadtest.summary import Check, Summary
from wscore.errors import ConfigError
from wscore.units import counted_noun

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


def _looks_for(summary: Summary, fault: str) -> bool:
    return summary.ledger.expected > 0 and fault in SCENARIOS[summary.kind].looked_for(summary)


def _count_of(fault: str, summary: Summary) -> float | None:
    count: int = getattr(summary.ledger, fault)
    return count if count or _looks_for(summary, fault) else None


def _own_count(kind: str, figure: Callable[[Summary], float | None], summary: Summary) -> float | None:
    return figure(summary) if summary.kind == kind else None


_STATISTICS: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max", "mean")
_OF_MESSAGES: Final = frozenset((wire.LATENCY, wire.SERVICE, wire.FIRST, wire.MEDIAN, wire.LAST))
_TIME_UNITS: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
COUNTS: Final[dict[str, Callable[[Summary], float | None]]] = {
    "rate": lambda summary: summary.sent_per_s,
    "received_rate": lambda summary: summary.received_per_s,
    "loss": lambda summary: summary.loss if _looks_for(summary, "lost") else None,
    **{fault.rule: partial(_count_of, fault.field) for fault in FAULTS},
    "errors": lambda summary: sum(summary.errors.values()),
    "failed_connections": lambda summary: summary.connections.failed,
    "lost_connections": lambda summary: summary.connections.lost,
    "missed_heartbeats": lambda summary: summary.heartbeats_missed,
    **{
        name: partial(_own_count, scenario.name, figure)
        for scenario in SCENARIOS.values()
        for name, figure in scenario.counts.items()
    },
}
_RULE: Final = re.compile(
    r"\s*([a-z_][a-z0-9_]*(?:\.[a-z0-9.]+)?)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zµ%]*)\s*"
)


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

    def tail(self) -> float | None:
        """Return the share of the samples that are above its percentile; None if it is about no latency's percentile.

        The maximum is above all but one of them.
        """
        family, _, statistic = self.metric.partition(".")
        if family not in _LATENCIES or statistic == "mean":
            return None
        return 0.0 if statistic == "max" else round(1 - float(statistic[1:]) / 100, 6)

    @property
    def latency(self) -> str | None:
        """The name of the latency that it is about, None if it is about a number."""
        return _LATENCIES.get(self.metric.partition(".")[0])

    @property
    def is_of_messages(self) -> bool:
        """Whether it is about latencies of what is sent by timetable."""
        return self.latency in _OF_MESSAGES

    def shortage(self, summary: Summary) -> str:
        """Return why its percentile cannot be told from that few samples; empty if it can."""
        tail = self.tail()
        found = summary.latencies.get(_LATENCIES.get(self.metric.partition(".")[0], ""))
        if not tail or found is None or found.count * tail >= 1:
            return ""
        return f"{counted_noun(found.count, 'sample')}, and it takes {math.ceil(1 / tail):,}"

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
        holds = actual is not None and threshold.holds(actual)
        shortage = threshold.shortage(summary) if holds else ""  # what few samples broke is broken
        passed = holds and not shortage
        value = None if actual is None else float(actual)
        checks.append(Check(threshold.text, value, threshold.limit, passed, threshold.unit, shortage))
    return tuple(checks)


def _wrong(text: str, problem: str, mend: str) -> ConfigError:
    return ConfigError(f"--threshold {text!r}", problem, mend)

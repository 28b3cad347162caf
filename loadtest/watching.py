"""Notices in the seconds of a run that a threshold is broken, so that it can end early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from loadtest.faults import FAULTS_BY_RULE
from loadtest.thresholds import MAIN_LATENCY, Threshold
from loadtest.wire import RECONNECT, STALL, Phase, RunProgress

SECONDS_IN_A_ROW: Final = 3  # one bad second is not the run

_SEEN: Final[dict[str, Callable[[RunProgress], float | None]]] = {
    "p50": lambda second: second.p50_us,
    "p99": lambda second: second.p99_us,
    "max": lambda second: second.max_us,
    "rate": lambda second: second.sent_per_s,
    "received_rate": lambda second: second.received_per_s,
    "errors": lambda second: second.errors,
    "failed_connections": lambda second: second.failed_connections,
    "lost_connections": lambda second: second.lost_connections,
    "missed_heartbeats": lambda second: second.missed_heartbeats,
    "stalls": lambda second: second.figures[STALL].count if STALL in second.figures else 0,
    "loss": lambda second: second.lost / (second.lost + second.received) if second.lost else 0.0,
    **{rule: attrgetter(fault.field) for rule, fault in FAULTS_BY_RULE.items()},
}
# A rule that they broke stays broken; what is lost so far may still come.
_ONLY_GROWS: Final = frozenset(_SEEN) - {"p50", "p99", "rate", "received_rate", "lost", "loss"}


class Watch:
    """Watches the rules; `grace_s` counts from the window on, and `>` about what can only grow is left to the end."""

    def __init__(self, thresholds: Sequence[Threshold], grace_s: float) -> None:
        self._rules = [rule for rule in thresholds if not (_grows(rule) and rule.compares.startswith(">"))]
        self._grace_s = grace_s
        self._steady_since_s: float | None = None
        self._in_a_row: Counter[str] = Counter()

    def see(self, second: RunProgress) -> str | None:
        """Return the text of a rule that this second shows to be broken."""
        if second.phase is Phase.STEADY and self._steady_since_s is None:
            self._steady_since_s = second.elapsed_s
        if self._steady_since_s is None or second.elapsed_s - self._steady_since_s < self._grace_s:
            return None
        for rule in self._rules:
            if second.phase is not Phase.STEADY and rule.latency != RECONNECT:  # the storm comes after the window
                continue
            breaks = _breaks(rule, second)
            if breaks is None:  # nothing came in this second, which is no good sign either
                continue
            self._in_a_row[rule.text] = self._in_a_row[rule.text] + 1 if breaks else 0
            if breaks and (_grows(rule) or self._in_a_row[rule.text] >= SECONDS_IN_A_ROW):
                return rule.text
        return None


def _figure(rule: Threshold) -> str:
    """Return what of a second tells about the rule itself; else it is told by the run so far."""
    family, _, statistic = rule.metric.partition(".")
    return statistic if family in MAIN_LATENCY else rule.metric


def _grows(rule: Threshold) -> bool:
    return _figure(rule) in _ONLY_GROWS or rule.metric.endswith(".max")


def _breaks(rule: Threshold, second: RunProgress) -> bool | None:
    """Tell whether a second shows that a rule is broken, None if it tells nothing."""
    seen = _SEEN.get(_figure(rule))
    if seen is not None:
        value = seen(second)
        return None if value is None else not rule.holds(value)
    found = second.figures.get(rule.latency or "")
    if found is None:
        return None
    statistic = rule.metric.partition(".")[2]
    if statistic in ("max", "mean"):
        return not rule.holds(found.max_us if statistic == "max" else found.mean_us)
    if found.count * (rule.tail() or 0) < 1:
        return None  # too few samples so far
    is_new = not rule.is_of_messages or not rule.holds(found.latest_max_us)  # else it only heals from an early hiccup
    return is_new and not rule.holds(found.percentiles_us[statistic[1:]])

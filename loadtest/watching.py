"""Notices in the seconds of a run that a threshold is broken, so that it can end early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from loadtest.thresholds import MAIN_LATENCY, Threshold
from loadtest.wire import Phase, RunProgress

SECONDS_IN_A_ROW: Final = 3  # one bad second is not the run

_SEEN: Final[dict[str, Callable[[RunProgress], float | None]]] = {
    "p50": lambda second: second.p50_us,
    "p99": lambda second: second.p99_us,
    "max": lambda second: second.max_us,
    "rate": lambda second: second.sent_per_s,
    "received_rate": lambda second: second.received_per_s,
    "errors": lambda second: second.errors,
}
_ONLY_GROWS: Final = {"max", "errors"}  # a rule that they broke stays broken


class Watch:
    """Watches the rules that a second tells something about; the others are left to the end of the run."""

    def __init__(self, thresholds: Sequence[Threshold], grace_s: float) -> None:
        self._rules = [(threshold, figure) for threshold in thresholds if (figure := _figure(threshold)) is not None]
        self._grace_s = grace_s
        self._steady_since_s: float | None = None
        self._in_a_row: Counter[str] = Counter()

    def see(self, second: RunProgress) -> str | None:
        """Return the text of a rule that this second shows to be broken; `grace_s` counts from the window on."""
        if second.phase is not Phase.STEADY:
            return None
        if self._steady_since_s is None:
            self._steady_since_s = second.elapsed_s
        if second.elapsed_s - self._steady_since_s < self._grace_s:
            return None
        for rule, figure in self._rules:
            value = _SEEN[figure](second)
            if value is None:  # nothing came in this second, which is no good sign either
                continue
            if rule.holds(value):
                self._in_a_row[rule.text] = 0
                continue
            self._in_a_row[rule.text] += 1
            if figure in _ONLY_GROWS or self._in_a_row[rule.text] >= SECONDS_IN_A_ROW:
                return rule.text
        return None


def _figure(rule: Threshold) -> str | None:
    family, _, statistic = rule.metric.partition(".")
    figure = statistic if family in MAIN_LATENCY else rule.metric
    if figure not in _SEEN or (figure in _ONLY_GROWS and rule.compares.startswith(">")):
        return None
    return figure

"""Compares two runs, with a tolerance that their own noise sets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadtest import wire
from loadtest.faults import FAULTS
from loadtest.histograms import Distribution
from loadtest.summary import Summary, Verdict
from loadtest.wire import Phase, Second
from wscore.errors import WsctlError

MIN_TOLERANCE: Final = 0.05  # two runs of the same thing on a quiet machine differ by so much
MIN_ONCE_TOLERANCE: Final = 0.25  # of what happens but once a connection, at a moment that may be a bad one
MAX_TOLERANCE: Final = 0.5  # beyond this a comparison would excuse anything
_SIGMAS: Final = 3.0
_FAULTS: Final = (*(fault.rule for fault in FAULTS), "errors", "failed connections", "lost connections")


class Change(StrEnum):
    """What became of a figure."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both runs; `ratio` is after / before, `tolerance` what of it noise explains."""

    metric: str
    unit: str
    before: float
    after: float
    tolerance: float
    change: Change

    @property
    def ratio(self) -> float:
        """After / before; infinite for something that came out of nothing."""
        return self.after / self.before if self.before else math.inf if self.after else 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side. `differences` names what of the configuration is not the same."""

    rows: tuple[Row, ...]
    differences: tuple[str, ...]

    @property
    def same_configuration(self) -> bool:
        """Whether the runs can be compared at all."""
        return not self.differences

    @property
    def is_worse(self) -> bool:
        """Whether any figure became worse than noise explains."""
        return any(row.change is Change.WORSE for row in self.rows)


class InvalidRunError(WsctlError):
    """A run whose figures say nothing cannot be compared."""

    def __init__(self, which: str, summary: Summary) -> None:
        super().__init__(which)
        self.which = which
        self.reason = next(iter(summary.reasons), "")

    def __str__(self) -> str:
        return f"{self.which} is an invalid run and says nothing: {self.reason}"


def compare(before: Summary, after: Summary) -> Comparison:
    """Compare two runs; raises InvalidRunError if one of them says nothing."""
    for which, run in (("the earlier one", before), ("the later one", after)):
        if run.verdict is Verdict.INVALID:
            raise InvalidRunError(which, run)
    return Comparison(tuple(_rows(before, after)), tuple(_differences(before, after)))


def _differences(before: Summary, after: Summary) -> Iterator[str]:
    if before.config_hash == after.config_hash:
        return
    for name in sorted({*before.config, *after.config}):
        was, now = before.config.get(name), after.config.get(name)
        if was != now:
            yield f"{name}: {was} and {now}"


def _rows(before: Summary, after: Summary) -> Iterator[Row]:
    rate = _noise(before, after, lambda second: second.received_per_s)
    yield _row("received a second", "/s", before.received_per_s, after.received_per_s, rate, less_is_better=False)
    for name, percentiles, of_second in (
        (wire.LATENCY, (50.0, 99.0, 99.9), _p50_us),
        (wire.SERVICE, (50.0, 99.0), _p50_us),
        (wire.CONNECT, (50.0, 95.0), None),
        (wire.RECONNECT, (50.0, 99.0), None),
        (wire.E2E, (50.0, 95.0), None),
    ):
        earlier, later = before.latencies.get(name), after.latencies.get(name)
        if earlier is None or later is None:
            continue
        for percentile in percentiles:
            seconds = _p99_us if percentile >= 99 and of_second is not None else of_second
            # The seconds say nothing about how connecting varies: how few samples there were does.
            noise = _sampling(earlier, later, percentile) if seconds is None else _noise(before, after, seconds)
            metric = f"{name} p{percentile:g}"
            was_us, is_us = earlier.percentile_us(percentile), later.percentile_us(percentile)
            yield _row(metric, "ms", was_us / 1000, is_us / 1000, noise, less_is_better=True)
    for metric, was, now in zip(_FAULTS, _faults(before), _faults(after), strict=True):
        # A fault is no noise: any more of them is worse.
        yield _row(metric, "", was, now, 0.0, less_is_better=True)


def _faults(run: Summary) -> tuple[int, ...]:
    ledger, connections = run.ledger, run.connections
    errors = sum(run.errors.values())
    of_messages = (getattr(ledger, fault.field) for fault in FAULTS)
    return (*of_messages, errors, connections.failed, connections.lost)


def _p50_us(second: Second) -> float | None:
    return second.p50_us


def _p99_us(second: Second) -> float | None:
    return second.p99_us


def _row(metric: str, unit: str, before: float, after: float, tolerance: float, *, less_is_better: bool) -> Row:
    change = Change.SAME
    if after > before * (1 + tolerance):
        change = Change.WORSE if less_is_better else Change.BETTER
    elif after < before * (1 - tolerance):
        change = Change.BETTER if less_is_better else Change.WORSE
    return Row(metric, unit, before, after, tolerance, change)


def _noise(before: Summary, after: Summary, figure: Callable[[Second], float | None]) -> float:
    """Return the relative difference that the spread of the seconds explains."""
    spreads = [
        _relative_error([value for second in _steady(run) if (value := figure(second))]) for run in (before, after)
    ]
    return min(MAX_TOLERANCE, max(MIN_TOLERANCE, _SIGMAS * math.hypot(*spreads)))


def _sampling(before: Distribution, after: Distribution, percentile: float) -> float:
    """Return the relative difference that the numbers of samples explain, by the ranks beside the percentile's."""
    spreads = []
    for found in (before, after):
        share = percentile / 100
        ranks = 100 * _SIGMAS * math.sqrt(share * (1 - share) / found.count)
        low, middle, high = (_at(found, percentile + step) for step in (-ranks, 0, ranks))
        spreads.append((high - low) / 2 / middle if middle else 0.0)
    return min(MAX_TOLERANCE, max(MIN_ONCE_TOLERANCE, math.hypot(*spreads)))


def _at(found: Distribution, percentile: float) -> float:
    """Return the value at a percentile, from the points of the spectrum."""
    return next((value for place, value in found.spectrum if place >= percentile), found.max_us)


def _relative_error(values: Sequence[float]) -> float:
    """Return the standard error of the median as a part of it; outliers weigh little."""
    if len(values) < 3:
        return MAX_TOLERANCE / _SIGMAS
    median = statistics.median(values)
    deviation = statistics.median(abs(value - median) for value in values) * 1.4826  # of a normal distribution
    return 1.2533 * deviation / math.sqrt(len(values)) / median if median else 0.0


def _steady(run: Summary) -> list[Second]:
    return [second for second in run.series if second.phase == Phase.STEADY]

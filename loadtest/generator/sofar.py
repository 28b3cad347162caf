"""Latencies of a run so far, of all processes together, for whoever looks at it while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from loadtest.generator.latencies import percentile
from loadtest.wire import CONNECT, LATENCY, RECONNECT, SERVICE, LatencyFigures

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_SINCE_START: Final = frozenset((CONNECT, RECONNECT))


class SoFar:
    """Adds up what each second brings; what is measured in the window alone begins with it."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {}

    def add(self, latencies_us: Mapping[str, Mapping[int, int]], *, in_window: bool) -> dict[str, LatencyFigures]:
        """Take a second; returns the figures of all kinds."""
        for name, latest in latencies_us.items():
            if in_window or name in _SINCE_START:
                self._counts.setdefault(name, Counter()).update(latest)
        figures = {
            name: _figures(counts, max(latencies_us.get(name, ()), default=0)) for name, counts in self._counts.items()
        }
        if SERVICE in figures:
            figures.setdefault(LATENCY, figures[SERVICE])  # in the closed model they are one
        return figures


def _figures(counts: Counter[int], latest_max_us: int) -> LatencyFigures:
    total = counts.total()
    return LatencyFigures(
        total,
        sum(value * count for value, count in counts.items()) / total,
        float(max(counts)),
        {f"{share:g}": percentile(counts, share / 100) or 0.0 for share in PERCENTILES},
        float(latest_max_us),
    )

"""Reads the driver's histograms: percentiles in microseconds, and the points of a percentile spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from hdrh.histogram import HdrHistogram

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)


class Distribution(msgspec.Struct, frozen=True, rename="camel"):
    """What a histogram says. All in microseconds but `count`; three significant digits."""

    count: int
    mean_us: float
    min_us: int
    max_us: int
    percentiles_us: dict[str, int]
    spectrum: tuple[tuple[float, int], ...] = ()  # (percentile, value), for a chart

    def percentile_us(self, percentile: float) -> int:
        """Return one of PERCENTILES."""
        return self.percentiles_us[f"{percentile:g}"]


def distribution(encoded: str) -> Distribution | None:
    """Read one histogram; None if nothing was recorded."""
    histogram: Any = HdrHistogram.decode(encoded)
    if not histogram.get_total_count():
        return None
    values = {f"{percentile:g}": int(histogram.get_value_at_percentile(percentile)) for percentile in PERCENTILES}
    return Distribution(
        int(histogram.get_total_count()),
        float(histogram.get_mean_value()),
        int(histogram.get_min_value()),
        int(histogram.get_max_value()),
        values,
        _spectrum(histogram),
    )


def distributions(encoded: Mapping[str, str]) -> dict[str, Distribution]:
    """Read those in which something was recorded."""
    return {name: found for name, text in encoded.items() if (found := distribution(text)) is not None}


def _spectrum(histogram: Any) -> tuple[tuple[float, int], ...]:
    """Return points evenly spread over log 1/(1-p), up to where one value remains."""
    total = histogram.get_total_count()
    points: list[tuple[float, int]] = []
    exponent = 0.0
    while (rest := 10**-exponent) * total >= 1:
        percentile = 100 * (1 - rest)
        points.append((percentile, int(histogram.get_value_at_percentile(percentile))))
        exponent += 0.1
    return (*points, (100.0, int(histogram.get_max_value())))

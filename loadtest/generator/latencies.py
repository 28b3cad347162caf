"""Latencies in microseconds: gathered in bulk, folded into an HdrHistogram off the hot path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Final

from hdrh.histogram import HdrHistogram

HIGHEST_US: Final = 60_000_000
DIGITS: Final = 3
SLICE: Final = 20  # so many values are folded at a time: some 40 us


def new_histogram() -> HdrHistogram:
    """Return an empty histogram of the one shape that all of them have, which makes merging them exact."""
    return HdrHistogram(1, HIGHEST_US, DIGITS)


def merged(encoded: Iterable[str]) -> str:
    """Return the sum of encoded histograms."""
    histogram = new_histogram()
    for text in encoded:
        histogram.decode_and_add(text)
    return encode(histogram)


def encode(histogram: HdrHistogram) -> str:
    """Return the histogram in the library's own encoding."""
    return str(histogram.encode(), "ascii")


def coarse(value_us: int) -> int:
    """Round to 1 %: enough for the second's figures, and few different values."""
    shift = value_us.bit_length() - 7
    return value_us if shift <= 0 else (value_us >> shift) << shift


class LatencyRecorder:
    """One kind of latency. `record` counts what is measured, `observe` what is only shown (ramp and drain)."""

    __slots__ = ("_fresh", "_shown", "histogram")

    def __init__(self) -> None:
        self.histogram = new_histogram()
        self._fresh: Counter[int] = Counter()
        self._shown: Counter[int] = Counter()

    def record(self, values_ns: Iterable[int]) -> None:
        """Count measured latencies."""
        self._fresh.update([value // 1000 for value in values_ns])

    def observe(self, values_ns: Iterable[int]) -> None:
        """Note latencies that do not count."""
        self._shown.update([value // 1000 for value in values_ns])

    def fold(self, latest: dict[int, int]) -> Generator[None]:
        """Move what was gathered into the histogram and, by value, into `latest`; pauses between slices of the work."""
        fresh, self._fresh = self._fresh, Counter()
        shown, self._shown = self._shown, Counter()
        record = self.histogram.record_value
        for place, (value, count) in enumerate(fresh.items(), 1):
            # A clock that is estimated can say that a message came before it was sent.
            record(min(max(value, 0), HIGHEST_US), count)
            latest[value] = latest.get(value, 0) + count
            if place % SLICE == 0:
                yield
        for value, count in shown.items():
            latest[value] = latest.get(value, 0) + count

    def fold_all(self) -> None:
        """Move all that was gathered at once."""
        for _ in self.fold({}):
            pass


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the value below which `share` of the counted values are; None if there are none."""
    total = sum(counts.values())
    if not total:
        return None
    reached = 0
    for value in sorted(counts):
        reached += counts[value]
        if reached >= total * share:
            return float(value)
    return float(max(counts))

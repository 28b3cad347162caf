"""The counts and latencies of one process, and their way into snapshots."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Final

from loadtest import wire
from loadtest.generator.latencies import LatencyRecorder, coarse, encode
from loadtest.generator.messages import Counts, Snapshot

COMMON: Final = (wire.SERVICE, wire.LATENCY, wire.CONNECT, wire.RECONNECT)


class Measurements:
    """What was measured in this process: counts, a recorder for each kind of latency, and when all was lost.

    `latencies` names those that are recorded beside the common ones.
    """

    __slots__ = ("all_lost_ns", "counts", "recorders")

    def __init__(self, latencies: Iterable[str]) -> None:
        self.counts = Counts()
        self.all_lost_ns = 0
        self.recorders = {name: LatencyRecorder() for name in (*COMMON, *latencies)}

    def histograms(self, *, is_open_model: bool) -> dict[str, str]:
        """Return the encoded histograms of what was recorded; in the closed model the two latencies are one."""
        encoded = {}
        for name, recorder in self.recorders.items():
            recorder.fold_all()
            if recorder.histogram.total_count:
                encoded[name] = encode(recorder.histogram)
        if not is_open_model and wire.SERVICE in encoded:
            encoded[wire.LATENCY] = encoded[wire.SERVICE]
        return encoded

    def fold(self, shown: str, snapshot: Snapshot, on_new: Callable[[str, dict[int, int]], None]) -> Generator[None]:
        """Move latencies into their histograms, and those `shown` into the snapshot.

        `on_new` gets the new ones of each kind.
        """
        for name, recorder in self.recorders.items():
            latest: dict[int, int] = {}
            yield from recorder.fold(latest)
            if not latest:
                continue
            rounded: dict[int, int] = {}
            for value, count in latest.items():
                place = coarse(value)
                rounded[place] = rounded.get(place, 0) + count
            snapshot.others[name] = rounded
            if name == shown:
                snapshot.max_us = max(latest)
                snapshot.latencies = rounded
            yield
            on_new(name, latest)
            yield

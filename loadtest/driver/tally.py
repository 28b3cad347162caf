"""The counts and latencies of one process, and their way into snapshots and into Locust's own table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from typing import Any, Final

from locust.stats import StatsError

from loadtest import wire
from loadtest.driver.gauge import Gauge, coarse, encode
from loadtest.driver.messages import FOREVER, Snapshot, Window

METHOD: Final = "WS"
HISTOGRAMS: Final = (
    *(wire.SERVICE, wire.LATENCY, wire.CONNECT, wire.FIRST, wire.MEDIAN, wire.LAST, wire.RECONNECT),
    *(wire.ENDPOINT, wire.ASR, wire.LLM, wire.TTS, wire.E2E, wire.STALL),
)


class Tally:
    """What happened in this process. `sent` and `received` are those of the whole run, the counted ones beside them."""

    __slots__ = (
        "all_lost_ns",
        "awaited",
        "close_codes",
        "connected",
        "counted_received",
        "counted_sent",
        "errors",
        "failed",
        "gauges",
        "heartbeats_missed",
        "late_sends",
        "lost",
        "opened",
        "peak",
        "received",
        "resumed",
        "sent",
        "window",
    )

    def __init__(self) -> None:
        self.window: Window = FOREVER
        self.opened = 0
        self.connected = 0
        self.peak = 0
        self.failed = 0
        self.lost = 0
        self.awaited = 0
        self.all_lost_ns = 0
        self.sent = 0
        self.received = 0
        self.counted_sent = 0
        self.counted_received = 0
        self.late_sends = 0
        self.resumed = 0
        self.heartbeats_missed = 0
        self.errors: Counter[str] = Counter()
        self.close_codes: Counter[str] = Counter()
        self.gauges = {name: Gauge() for name in HISTOGRAMS}

    def snapshot(self) -> Snapshot:
        """Return the counts of this moment; latencies are added while they are folded."""
        return Snapshot(
            connected=self.connected,
            opened=self.opened,
            failed=self.failed,
            lost=self.lost,
            sent=self.sent,
            received=self.received,
            errors=self.errors.total(),
            awaited=self.awaited,
            top_error=self.errors.most_common(1)[0][0] if self.errors else "",
        )

    def histograms(self, *, is_open_model: bool) -> dict[str, str]:
        """Return the encoded histograms of what was recorded; in the closed model the two latencies are one."""
        for gauge in self.gauges.values():
            gauge.fold_all()
        encoded = {name: encode(gauge.histogram) for name, gauge in self.gauges.items() if gauge.histogram.total_count}
        if not is_open_model and wire.SERVICE in encoded:
            encoded[wire.LATENCY] = encoded[wire.SERVICE]
        return encoded

    def fold(self, shown: str, rows: dict[str, Table], snapshot: Snapshot) -> Generator[None]:
        """Move latencies into their histograms and rows of Locust's table, and those `shown` into the snapshot."""
        for name, gauge in self.gauges.items():
            latest: dict[int, int] = {}
            yield from gauge.fold(latest)
            if latest and name == shown:
                snapshot.max_us = max(latest)
                for value, count in latest.items():
                    rounded = coarse(value)
                    snapshot.latencies[rounded] = snapshot.latencies.get(rounded, 0) + count
                yield
            if latest and name in rows:
                rows[name].add(latest)
                yield


class Table:
    """One row of Locust's table, filled in bulk: an event a message would cost more than the message itself."""

    def __init__(self, stats: Any, name: str) -> None:
        self._stats = stats
        self._name = name

    def add(self, latencies_us: dict[int, int]) -> None:
        """Add latencies, as Locust's `log` does one by one."""
        milliseconds: dict[int, int] = {}
        for value, count in latencies_us.items():
            rounded = _locust_bucket(value)
            milliseconds[rounded] = milliseconds.get(rounded, 0) + count
        requests = sum(latencies_us.values())
        total_ms = sum(value * count for value, count in latencies_us.items()) / 1000
        for entry in (self._stats.total, self._stats.entries[(self._name, METHOD)]):
            now = time.time()
            second = int(now)
            is_new_second = second > int(entry.last_request_timestamp or second)
            if entry.use_response_times_cache and is_new_second:
                entry._cache_response_times(second - 1)
            entry.num_requests += requests
            entry.num_reqs_per_sec[second] += requests
            entry.last_request_timestamp = now
            entry.total_response_time += total_ms
            lowest, highest = min(latencies_us) / 1000, max(latencies_us) / 1000
            entry.min_response_time = (
                lowest if entry.min_response_time is None else min(entry.min_response_time, lowest)
            )
            entry.max_response_time = max(entry.max_response_time, highest)
            for value, count in milliseconds.items():
                entry.response_times[value] += count

    def fail(self, text: str, count: int) -> None:
        """Add failures of one kind."""
        self._stats.log_error(METHOD, self._name, text)
        more, second = count - 1, int(time.time())
        self._stats.errors[StatsError.create_key(METHOD, self._name, text)].occurrences += more
        for entry in (self._stats.total, self._stats.entries[(self._name, METHOD)]):
            entry.num_failures += more
            entry.num_fail_per_sec[second] += more


def _locust_bucket(value_us: int) -> int:
    """Round to Locust's buckets: whole milliseconds, two digits from 100 on."""
    value = round(value_us / 1000)
    if value < 100:
        return value
    digits = 1 if value < 1000 else 2 if value < 10_000 else 3
    return round(value, -digits)

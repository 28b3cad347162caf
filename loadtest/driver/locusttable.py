"""Locust's own table of requests, filled in bulk from what the load measured."""

from __future__ import annotations

import time
from typing import Any, Final

from locust.stats import StatsError

METHOD: Final = "WS"


class LocustTable:
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

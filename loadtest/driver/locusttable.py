"""Locust's own table of requests, filled in bulk from what the load measured."""

from __future__ import annotations

from typing import Any, Final

from locust import stats as locust_stats

from wscore.wallclock import now_ms

METHOD: Final = "WS"


class LocustTable:
    """One row of Locust's table, filled in bulk: an event a message would cost more than the message itself."""

    def __init__(self, stats: Any, name: str) -> None:
        self._stats = stats
        self._name = name

    def add(self, latencies_us: dict[int, int]) -> None:
        """Add latencies, one at least, as Locust's `log_request` does one by one."""
        first_us = next(iter(latencies_us))
        self._stats.log_request(METHOD, self._name, first_us / 1000, 0)  # which notes the time, and keeps its caches
        more = latencies_us | {first_us: latencies_us[first_us] - 1}
        requests, total_ms = sum(more.values()), sum(value * count for value, count in more.items()) / 1000
        lowest_ms, highest_ms = min(latencies_us) / 1000, max(latencies_us) / 1000
        buckets: dict[int, int] = {}
        for value, count in more.items():
            bucket = locust_stats.bucket_response_time(value / 1000)
            buckets[bucket] = buckets.get(bucket, 0) + count
        for entry in (self._stats.total, self._stats.entries[(self._name, METHOD)]):
            entry.num_requests += requests
            entry.num_reqs_per_sec[int(entry.last_request_timestamp)] += requests
            entry.total_response_time += total_ms
            entry.min_response_time = min(entry.min_response_time, lowest_ms)
            entry.max_response_time = max(entry.max_response_time, highest_ms)
            for bucket, count in buckets.items():
                entry.response_times[bucket] += count

    def fail(self, text: str, count: int) -> None:
        """Add failures of one kind."""
        self._stats.log_error(METHOD, self._name, text)
        more, second = count - 1, now_ms() // 1000
        self._stats.errors[locust_stats.StatsError.create_key(METHOD, self._name, text)].occurrences += more
        for entry in (self._stats.total, self._stats.entries[(self._name, METHOD)]):
            entry.num_failures += more
            entry.num_fail_per_sec[second] += more

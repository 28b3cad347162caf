"""Locust's table holds the same whether it is filled in bulk or, as Locust does it, one by one."""

from __future__ import annotations

import json
import subprocess
import sys

HANG_S = 60
LATENCIES_US = {400: 3, 1_500: 1, 99_499: 2, 147_000: 5, 3_432_000: 1, 58_760_000: 2}
# Locust patches the process that imports it.
SCRIPT = f"""
import json, time
from locust.stats import RequestStats
from loadtest.driver.locusttable import METHOD, LocustTable

bulk, single = RequestStats(), RequestStats()
for latencies in ({LATENCIES_US}, {{250: 1}}):
    LocustTable(bulk, "ping").add(latencies)
    for value, count in latencies.items():
        for _ in range(count):
            single.log_request(METHOD, "ping", value / 1000, 0)
LocustTable(bulk, "ping").fail("lost", 3)
for _ in range(3):
    single.log_error(METHOD, "ping", "lost")
for stats in (bulk, single):
    for entry in (stats.total, stats.get("ping", METHOD)):
        shown = {{name: getattr(entry, name) for name in (
            "num_requests", "num_failures", "min_response_time", "max_response_time", "response_times"
        )}}
        shown["mean_us"] = round(entry.avg_response_time * 1000)
        shown["seconds"] = [sum(entry.num_reqs_per_sec.values()), sum(entry.num_fail_per_sec.values())]
        shown["errors"] = [error.occurrences for error in stats.errors.values()]
        print(json.dumps(shown))
"""


def test_a_table_that_is_filled_in_bulk_holds_what_locust_itself_would_have_noted():
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=HANG_S, check=True)
    total, row, true_total, true_row = map(json.loads, result.stdout.splitlines())
    assert (total, row) == (true_total, true_row)
    assert row["num_requests"] == sum(LATENCIES_US.values()) + 1
    assert row["errors"] == [3]

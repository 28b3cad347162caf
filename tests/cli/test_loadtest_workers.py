"""A load test of `wsctl serve --workers` tells how the connections are spread over its processes."""

from __future__ import annotations

import json
import uuid

import pytest
from websockets.asyncio.client import connect

from loadtest.reports.figures import facts
from tests.conftest import now_ms
from tests.loadrun import run_loadtest
from tests.loadtest.test_verdicts import summary

HANG_S = 60
CONNECTIONS = 24


@pytest.fixture
def two_workers(start_wsctl, redis):
    process = start_wsctl("serve", "--port", "0", "--workers", "2", "--broker", redis.url)
    return next(line.split()[2] for line in process.stderr if line.startswith("wsctl serves "))


async def test_a_server_of_one_process_names_none(start_server):
    url = (await start_server()).url
    async with connect(f"{url}?token=guest_{uuid.uuid4()}_{now_ms()}", proxy=None) as ws:
        assert "worker" not in json.loads(await ws.recv())["data"]


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_report_has_the_connections_of_each_worker(two_workers, tmp_path, processes):
    run = run_loadtest(
        tmp_path,
        *("broadcast", two_workers, "--connections", f"{CONNECTIONS}", "--sessions", "4", "--processes", processes),
        *("--duration", "1s", "--ramp", "200ms", "--drain", "1s", "--json", "--out", "reports"),
    )
    workers = run.summary["workers"]
    assert workers.keys() == {"0", "1"}
    assert sum(workers.values()) == run.summary["connections"]["opened"] == CONNECTIONS
    assert run.failures == []
    first = f"{workers['0']} on worker 0 ({workers['0'] / CONNECTIONS:.0%}), {workers['1']} on worker 1"
    assert first in (tmp_path / "reports" / "summary.md").read_text()
    assert first in (tmp_path / "reports" / "report.html").read_text()


def test_an_uneven_spread_shows_and_one_process_is_no_row():
    assert dict(facts(summary(workers={0: 30, 1: 10})))["workers"] == "30 on worker 0 (75%), 10 on worker 1 (25%)"
    assert "workers" not in dict(facts(summary()))

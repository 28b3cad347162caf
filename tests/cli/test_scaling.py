"""What a load takes is calculated as docs/scaling.md says, and as two real workers find it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_serve_workers import Serving
from tests.loadrun import run_loadtest
from wsserver.scaling import CALL_US, DELIVER_US, STORE_US, WRITE_US, Load, report, simulate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
EXAMPLES = re.findall(r"^    python -m wsserver\.scaling (.*)\n\n((?:    .*\n)+)", PAGE, re.MULTILINE)
SECONDS = 5
TICKS_A_SECOND = 100  # of proc(5), on every Linux
WIDE = 4.0  # a machine with neighbours, and a kernel whose writes take twice as long as another's


def scaling(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wsserver.scaling", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.parametrize(("arguments", "printed"), EXAMPLES)
def test_the_page_shows_what_the_command_prints(arguments, printed):
    ended = scaling(*arguments.split())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == re.sub(r"^    ", "", printed, flags=re.MULTILINE)


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 2


def test_no_load_is_refused_with_a_sentence():
    ended = scaling("--workers", "0")
    assert (ended.returncode, "more than 0" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


def test_more_workers_help_the_workers_and_cost_the_broker():
    few = simulate(Load(rooms=1000, members=100, rate=2, workers=2))
    many = simulate(Load(rooms=1000, members=100, rate=2, workers=20))
    assert many.worker < few.worker
    assert many.broker > few.broker
    assert many.pushes > few.pushes


def test_more_brokers_share_the_groups():
    load = Load(rooms=100_000, members=10, rate=2, workers=64, wake_us=0)
    one, four = simulate(load), simulate(replace(load, brokers=4))
    assert one.bottleneck == "brokers"
    assert four.broker == pytest.approx(one.broker / 4)
    assert four.worker == one.worker


def test_one_redis_ends_at_about_180_000_calls_a_second():
    assert 160_000 < 1e6 / (CALL_US + STORE_US) < 200_000
    load = Load(rooms=190_000, members=2, rate=1, workers=16)
    assert simulate(load).broker > 1
    assert "brokers: 1.1 times what one of them has" in report(load)


def test_who_has_much_to_do_need_not_be_woken():
    def waking(rate: float) -> float:
        load = Load(rooms=1, members=100, rate=rate)
        return simulate(load).worker_alone - simulate(replace(load, wake_us=0)).worker_alone

    assert 0 < waking(1000) / 1000 < waking(100) / 100
    assert waking(10_000) == 0  # more than it can do


def test_messages_that_come_close_together_are_written_together():
    fast = simulate(Load(rooms=1, members=100, rate=200, wake_us=0))
    assert fast.worker_alone - fast.worker == pytest.approx(200 * 100 * WRITE_US * 0.9 / 1e6)
    assert fast.worker > 200 * 100 * DELIVER_US / 1e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads proc(5)")
def test_two_real_workers_and_their_redis_take_about_that(start_wsctl, redis, tmp_path):
    serving = Serving(start_wsctl("serve", "--port", "0", "--workers", "2", "--broker", redis.url))
    url = serving.banner()
    workers = serving.workers

    def taken(rate: int) -> tuple[list[float], float]:
        """Return the processor seconds of each worker and of Redis for the same connections at a rate."""
        before = [cpu_s(pid) for pid in (*workers, redis.process.pid)]
        run = run_loadtest(
            tmp_path,
            *("broadcast", url, "--connections", "100", "--sessions", "2", "--rate", str(rate)),
            *("--duration", f"{SECONDS}s", "--ramp", "500ms", "--drain", "1s", "--json"),
        )
        assert run.failures == []
        used = [cpu_s(pid) - began_s for pid, began_s in zip((*workers, redis.process.pid), before, strict=True)]
        return used[:2], used[2]

    idle, idle_redis = taken(2)
    busy, busy_redis = taken(200)
    need = simulate(Load(rooms=2, members=50, rate=99, workers=2))
    measured = sum(busy) - sum(idle)
    assert 2 * need.worker_alone * SECONDS / WIDE < measured < 2 * need.worker_alone * SECONDS * WIDE, measured
    assert (busy_redis - idle_redis) < 2 * WIDE * need.broker * SECONDS + 0.2  # which has a turn for each call

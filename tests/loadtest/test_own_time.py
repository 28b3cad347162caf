"""What a generator stood still for is no time in which the server owed it anything."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time

from loadtest.generator.owntime import OwnTime
from tests.loadtest.driving import drive_until_steady_then, short_plan
from wscore.heartbeat import HeartbeatPolicy

SECOND_NS = 10**9
STOPPED_S = 1.5


def test_own_time_stands_still_while_its_timer_is_overdue_and_goes_on_after_it():
    own = OwnTime()
    own.woke(100 * SECOND_NS, 100 * SECOND_NS + 10**7)
    assert own.at(100 * SECOND_NS + 4 * 10**8) == 100 * SECOND_NS + 4 * 10**8  # late, but no stall
    during, later = own.at(170 * SECOND_NS), own.at(171 * SECOND_NS)
    assert during == later == 100 * SECOND_NS + 10**7
    own.woke(171 * SECOND_NS, 171 * SECOND_NS + 10**7)
    assert own.at(171 * SECOND_NS) == during
    assert own.at(171 * SECOND_NS + 5) == during + 5


async def test_a_generator_that_was_stopped_blames_no_missed_heartbeat_on_the_server(start_server):
    server = await start_server(heartbeat=HeartbeatPolicy(300, 60_000))

    def stop_and_continue(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        process.send_signal(signal.SIGCONT)

    plan = short_plan(server.url, "soak", rate=10.0, duration_s=2 * STOPPED_S)
    outcome = await asyncio.to_thread(drive_until_steady_then, plan, stop_and_continue)
    assert outcome.code == 0
    assert outcome.measured.heartbeats_missed == 0
    assert outcome.measured.generator.lag_max_us > STOPPED_S * 1e6 / 2

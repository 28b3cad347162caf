"""A worker is killed, or stands still: whoever was there comes back to another one and misses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import uuid
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from wscore.counting import EventCounter, EventPlace
from wscore.recovery import Position

HANG_S = 60
STOPPED_S = 5
PROMISED_S = 2.0  # until all who were at a worker that is killed are back
BUSY_S = 3.0  # more, for a machine that does other things too
COUNT = 12
SERVING = re.compile(r" worker\.serving .*pid=(\d+)")


class Resumer:
    """A client that counts, and comes back where it was."""

    def __init__(self, url, moved):
        self.url = f"{url}?token=guest_{uuid.uuid4()}_{time.time_ns() // 1_000_000}&sessionId=s"
        self.moved = moved
        self.counter = EventCounter()
        self.resume_token = ""
        self.seen = []
        self.came = 0
        self.is_in = False
        self.lost_s = self.away_s = 0.0
        self.ws = None
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            held = self.counter.position
            query = "" if held is None else f"&epoch={held.epoch}&seq={held.seq}&resume={self.resume_token}"
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with connect(self.url + query, proxy=None, ping_interval=None) as self.ws:
                    async for text in self.ws:
                        self.take(json.loads(text))
            if self.is_in:
                self.is_in, self.lost_s = False, time.monotonic()
            await asyncio.sleep(0.02)

    def take(self, envelope):
        if envelope["type"] == "session_created":
            recovery = envelope["data"]["recovery"]
            self.resume_token = recovery["resumeToken"]
            self.came += 1
            self.is_in = True
            if self.came > 1:
                self.away_s = max(self.away_s, time.monotonic() - self.lost_s)
            assert self.counter.begin(Position(recovery["epoch"], recovery["seq"]), recovery.get("recovered")) is False
        elif envelope["type"] == "message":
            assert self.counter.place(envelope["seq"]) is EventPlace.NEXT
            self.seen.append(envelope["data"])
        self.moved.set()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)], ids=["killed", "stopped"]
)
async def test_who_was_at_a_worker_that_fails_misses_nothing(start_wsctl, redis, number):
    options = ("--port", "0", "--workers", "2", "--broker", redis.url, "--recovery-messages", "5000")
    process = start_wsctl("serve", *options)
    pids, url = [], ""
    for line in process.stderr:
        if match := SERVING.search(line):
            pids.append(int(match[1]))
        if line.startswith("wsctl serves "):
            url = line.split()[2]
            break
    moved = asyncio.Event()
    resumers = [Resumer(url, moved) for _ in range(COUNT)]
    sent = 0

    async def until(is_so):
        async with asyncio.timeout(HANG_S):
            while not is_so():
                moved.clear()
                for resumer in resumers:
                    if resumer.task.done():
                        resumer.task.result()
                await moved.wait()

    def heard(number):
        return lambda: number in resumers[0].seen

    async def say(count):
        nonlocal sent
        for _ in range(count):
            text = json.dumps({"type": "message", "timestamp": 1, "data": sent})
            # Its own echo acknowledges it; without one it may be said twice, and none is lost.
            while sent not in resumers[0].seen:
                with suppress(ConnectionClosed):
                    await resumers[0].ws.send(text)
                with suppress(TimeoutError):
                    await asyncio.wait_for(until(heard(sent)), STOPPED_S)
            sent += 1

    await until(lambda: all(resumer.came for resumer in resumers))
    await say(20)
    os.kill(pids[0], number)
    if number == signal.SIGSTOP:
        await asyncio.sleep(STOPPED_S)
        os.kill(pids[0], signal.SIGCONT)
    else:
        await until(lambda: sum(resumer.came for resumer in resumers) > COUNT)
    await say(20)
    await until(lambda: all(39 in resumer.seen for resumer in resumers))
    for resumer in resumers:
        resumer.task.cancel()
    await asyncio.wait([resumer.task for resumer in resumers])
    for resumer in resumers:
        assert resumer.seen == resumers[0].seen, "one order, and nothing missed"
    assert set(resumers[0].seen) == set(range(40))
    assert (number == signal.SIGKILL) is any(resumer.came > 1 for resumer in resumers)
    assert max(resumer.away_s for resumer in resumers) < PROMISED_S + BUSY_S
    process.send_signal(signal.SIGTERM)

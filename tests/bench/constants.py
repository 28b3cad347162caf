"""What the calculation of docs/scaling.md counts with, measured: `make bench-workers BENCH="--constants"`.

What is done for a message is measured where much is to do, so that nobody is woken for it; to be woken by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

import uvloop
from redis import Redis

from tests.bench.broker import CHANNEL, PAYLOAD, publish_us, receive_us, running_redis
from tests.bench.openload import MEMORY, TWO, Measured, OpenLoad
from tests.bench.pinning import cores, pinned
from wsserver import scaling
from wsserver.brokers.batches import Item, pack_item
from wsserver.brokers.redisscripts import PUBLISH

BUSY = OpenLoad("each message for its sender, as many as can be", 100, 1, 1)
ALONE = OpenLoad("each message for its sender, 1,000 a second", 100, 1, 1, 1000)
FAN_OUT = OpenLoad("each message for 1,000", 1, 1, 1000, 50)
ROOMS = 32  # in each of which a message is published in a turn
TOGETHER = 100  # messages that come at the same time
MESSAGES = 32_000
CALLS = 20_000
IN_PIPELINE = 200
SUBSCRIBERS = 40


def measure(run: Callable[[OpenLoad, str], Measured], rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each constant what was measured, and what the calculation has; medians of interleaved rounds."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for _ in range(rounds):
        busy, alone, fan_out, two = (
            run(load, setup) for load, setup in ((BUSY, MEMORY), (ALONE, MEMORY), (FAN_OUT, MEMORY), (ALONE, TWO))
        )
        write = (_us(fan_out) - _us(busy)) / (FAN_OUT.members - BUSY.members)
        note("TAKE_US", _us(busy) - write)
        note("WRITE_US", write - scaling.DELIVER_US)
        note("WAKE_US", _us(alone) - _us(busy))
        note("WORKER_BYTES", two.resident_mib)
        with running_redis() as server, pinned(cores()[0]):
            note("PUBLISH_US", uvloop.run(publish_us(server.url, MESSAGES, ROOMS, ROOMS)))
            note("HEAR_US", uvloop.run(receive_us(server.url, server.port, MESSAGES, TOGETHER)))
        stored, told = _call_us(0), _call_us(SUBSCRIBERS)
        note("CALL_US + STORE_US", stored)
        note("PUSH_US", (told - stored) / SUBSCRIBERS)
    here = {name: getattr(scaling, name, 0.0) for name in found}
    here["CALL_US + STORE_US"] = scaling.CALL_US + scaling.STORE_US
    here["WORKER_BYTES"] /= 1 << 20
    return {name: (median(values), here[name]) for name, values in found.items()}


def _us(found: Measured) -> float:
    """Return what all workers took for a message."""
    return sum(found.workers) / found.messages * 1e6


def _call_us(subscribers: int) -> float:
    """Return a busy Redis's own time for a call that stores a message and tells it so many subscribers."""
    packed = pack_item(Item(PAYLOAD, True))
    with ExitStack() as stack:
        server = stack.enter_context(running_redis())
        client = stack.enter_context(server.client)
        feeds = [stack.enter_context(stack.enter_context(server.client).pubsub()) for _ in range(subscribers)]
        for feed in feeds:
            feed.subscribe(CHANNEL)
        sha = client.script_load(PUBLISH)
        before_s = _cpu_s(client)
        for first in range(0, CALLS, IN_PIPELINE):
            pipeline = client.pipeline(transaction=False)
            for number in range(first, first + IN_PIPELINE):
                names = (f"{CHANNEL}:meta", f"{CHANNEL}:log", CHANNEL)
                pipeline.evalsha(sha, 2, *names, "run", "epoch", "bench", number + 1, 100, 60, packed)
            pipeline.execute()
            for feed in feeds:
                assert feed.connection is not None
                feed.connection._sock.recv(1 << 20)  # thrown away: to parse it would take longer than all the rest
        return (_cpu_s(client) - before_s) / CALLS * 1e6


def _cpu_s(client: Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

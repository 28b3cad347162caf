"""`make bench-broker`: what a message through Redis costs a worker's processor, beside redis-py in the same run.

    .venv/bin/python -m tests.bench.broker --repeat 9

Processor time of this process alone, the medians of interleaved rounds; a Redis of our own runs on another core.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis
import redis.asyncio as redis_py
import uvloop
from redis import Redis

from tests.bench.generator import BenchError
from tests.bench.pinning import cores, pinned
from tests.redisserver import PROGRAMS, RedisServer
from wscore.recovery import RecoveryLimits
from wsserver.brokers.base import ROOM
from wsserver.brokers.batches import Item, pack_item
from wsserver.brokers.redis import RedisBroker
from wsserver.brokers.redisscripts import PUBLISH, PUBLISH_SHA
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

PAYLOAD = b'{"type":"message","timestamp":1700000000000,"sessionId":"a","data":"' + b"x" * 89 + b'"}'
A_TURN = 32
PER_SECOND = 10_000
TICK = 10  # messages that come at the same millisecond, each by itself
PREFIX = "bench:"
CHANNEL = f"{PREFIX}{{r:hall}}"
PROMISED_US = {"publish": 1.5, "receive": 3.0}


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a Redis on the other core; raises BenchError."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise BenchError("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, Path(folder), ())
        with pinned(cores()[1]):
            server.start()
        try:
            yield server
        finally:
            server.stop()


async def _broker(url: str) -> RedisBroker:
    now_s = asyncio.get_running_loop().time
    limits = RecoveryLimits()
    return RedisBroker(
        read_target(url), PREFIX, limits, process="bench", now_s=now_s, metrics=Metrics(), log=EventLog()
    )


async def publish_us(url: str, messages: int) -> float:
    """Return what the broker takes for a message, so many in each turn of the event loop."""
    broker = await _broker(url)
    broker.attach(lambda *message: None, lambda *lost: None, lambda *answer: None)
    broker.attach_revoked(lambda entries: None, dict)
    await broker.start()
    await broker.published(ROOM, "hall", PAYLOAD, recoverable=True)
    began_s = time.process_time()
    for _ in range(0, messages, A_TURN):
        for _ in range(A_TURN - 1):
            broker.publish(ROOM, "hall", PAYLOAD, recoverable=True)
        await broker.published(ROOM, "hall", PAYLOAD, recoverable=True)
    took_s = time.process_time() - began_s
    await broker.stop(1)
    return took_s / messages * 1e6


async def publish_plain_us(url: str, messages: int) -> float:
    """Return what redis-py takes for the same: a pipeline with a call for each message."""
    client = redis_py.Redis.from_url(url)
    await client.script_load(PUBLISH)
    packed, number = pack_item(Item(PAYLOAD, True)), 0
    began_s = time.process_time()
    for _ in range(0, messages, A_TURN):
        pipeline = client.pipeline(transaction=False)
        for _ in range(A_TURN):
            number += 1
            names = (f"{CHANNEL}:meta", f"{CHANNEL}:log", CHANNEL)
            pipeline.evalsha(PUBLISH_SHA, 2, *names, "run", "epoch", "plain", number, 100, 60, packed)
        await pipeline.execute()
    took_s = time.process_time() - began_s
    await client.aclose()
    return took_s / messages * 1e6


@contextmanager
def _sending(port: int, messages: int) -> Iterator[None]:
    """Have another process announce so many messages, `PER_SECOND`."""
    command = [sys.executable, "-m", "tests.bench.broker", "--send", str(messages), "--port", str(port)]
    with pinned(cores()[1]):
        process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def send(port: int, messages: int) -> None:
    """Announce so many messages, those of each millisecond when they are due."""
    with Redis(port=port) as client:
        connection = client.connection_pool.get_connection()
        command = hiredis.pack_command(("PUBLISH", CHANNEL, b"-:0:0:" + pack_item(Item(PAYLOAD, False))))
        began_s = time.perf_counter()
        sent = 0
        while sent < messages:
            connection.send_packed_command([command * TICK], check_health=False)
            for _ in range(TICK):
                connection.read_response()
            sent += TICK
            ahead_s = began_s + sent / PER_SECOND - time.perf_counter()
            if ahead_s > 0:
                time.sleep(ahead_s)


async def receive_us(url: str, port: int, messages: int) -> float:
    """Return what the broker takes to deliver a message of its own."""
    broker = await _broker(url)
    got, done, began_s = 0, asyncio.Event(), 0.0

    def deliver(*_message: object) -> None:
        nonlocal got, began_s
        got += 1
        if got == 1:
            began_s = time.process_time()
        elif got == messages:
            done.set()

    broker.attach(deliver, lambda *lost: None, lambda *answer: None)
    broker.attach_revoked(lambda entries: None, dict)
    await broker.start()
    broker.subscribe(ROOM, "hall")
    await broker.ready(ROOM, "hall")
    with _sending(port, messages):
        await asyncio.wait_for(done.wait(), 60 + messages / 100)
        took_s = time.process_time() - began_s
    await broker.stop(1)
    return took_s / (messages - 1) * 1e6


async def receive_plain_us(url: str, port: int, messages: int) -> float:
    """Return what redis-py takes to hand on the same."""
    client = redis_py.Redis.from_url(url)
    subscription = client.pubsub(ignore_subscribe_messages=True)
    await subscription.subscribe(CHANNEL)
    got, began_s, took_s = 0, 0.0, 0.0
    with _sending(port, messages):
        async for _ in subscription.listen():
            got += 1
            if got == 1:
                began_s = time.process_time()
            elif got == messages:
                took_s = time.process_time() - began_s
                break
    await subscription.aclose()  # type: ignore[no-untyped-call]
    await client.aclose()
    return took_s / (messages - 1) * 1e6


def measure(rounds: int, messages: int) -> dict[str, tuple[float, float, float]]:
    """Return for publish and receive: µs of ours, of redis-py, and the ratio; medians of interleaved rounds."""
    found: dict[str, list[tuple[float, float]]] = {"publish": [], "receive": []}
    with running_redis() as server, pinned(cores()[0]):
        for _ in range(rounds):
            pair = [uvloop.run(way(server.url, messages)) for way in (publish_us, publish_plain_us)]
            found["publish"].append((pair[0], pair[1]))
            pair = [uvloop.run(way(server.url, server.port, messages)) for way in (receive_us, receive_plain_us)]
            found["receive"].append((pair[0], pair[1]))
    return {
        name: (
            statistics.median(ours for ours, _ in pairs),
            statistics.median(plain for _, plain in pairs),
            statistics.median(plain / ours for ours, plain in pairs),
        )
        for name, pairs in found.items()
    }


def main() -> int:
    """Measure and print a table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.broker", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--messages", type=int, default=32_000, help="in each of them (default 32,000)")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(options.port, options.send)
        return 0
    try:
        found = measure(options.repeat, options.messages)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        "| µs of processor time a message | wsctl | redis-py | redis-py / wsctl | promise |\n|---|---|---|---|---|\n"
    )
    for name, (ours, plain, ratio) in found.items():
        most = PROMISED_US[name]
        verdict = "held" if ours <= most else "**missed**"
        sys.stdout.write(f"| {name} | {ours:.2f} | {plain:.1f} | {ratio:.1f} | ≤ {most:g} µs: {verdict} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

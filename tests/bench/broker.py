"""`make bench-broker`: what a message through Redis costs a worker's processor, beside redis-py in the same run.

    .venv/bin/python -m tests.bench.broker --repeat 9

Processor time of this process alone, the medians of interleaved rounds; a Redis of our own runs on another core.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis
import redis.asyncio as redis_py
import uvloop
from redis import Redis

from tests.bench.generator import BenchError
from tests.bench.pinning import cores, pinned
from tests.redisserver import RedisServer, redis_program
from wscore.recovery import Position, RecoveryLimits
from wsserver.brokers.base import ROOM
from wsserver.brokers.batches import Item, pack_item
from wsserver.brokers.places import BrokerLists
from wsserver.brokers.redis import RedisBroker
from wsserver.brokers.redisscripts import PUBLISH, PUBLISH_SHA
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

PAYLOAD = b'{"type":"message","timestamp":1700000000000,"sessionId":"a","data":"' + b"x" * 89 + b'"}'
A_TURN = 32
PER_SECOND = 10_000
TOGETHER = 10  # messages that come at the same millisecond, each by itself
PREFIX = "bench:"
CHANNEL = f"{PREFIX}{{r:hall}}"
PUBLISHED = f"publish, {A_TURN} in a turn"
PUBLISHED_ALONE = "publish, one in a turn"
RECEIVED = f"receive, {TOGETHER} at the same millisecond"
RECEIVED_ALONE = "receive, one by one"
# What the project promises itself, in µs; None: nothing.
PROMISED_US: dict[str, float | None] = {PUBLISHED: 1.5, PUBLISHED_ALONE: None, RECEIVED: 3.0, RECEIVED_ALONE: 3.0}


@contextmanager
def running_redis(*, pins: bool = True) -> Iterator[RedisServer]:
    """Start a Redis, on the other core if it is to be pinned there; raises BenchError."""
    program = redis_program()
    if program is None:
        raise BenchError("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, Path(folder), ())
        with pinned(cores()[1] if pins else None):
            server.start()
        try:
            yield server
        finally:
            server.stop()


async def _broker(url: str) -> RedisBroker:
    now_s = asyncio.get_running_loop().time
    target, log = read_target(url), EventLog()
    lists = BrokerLists([str(target)], [], log)
    return RedisBroker(
        target, PREFIX, RecoveryLimits(), process="bench", lists=lists, now_s=now_s, metrics=Metrics(), log=log
    )


async def publish_us(url: str, messages: int, a_turn: int, rooms: int = 1) -> float:
    """Return what the broker takes for a message, so many in each turn of the event loop, stored before the next."""
    names = [f"hall{number % rooms}" for number in range(a_turn)]
    broker = await _broker(url)
    broker.attach(lambda *message: None, lambda *lost: None, lambda *answer: None)
    broker.attach_revoked(lambda entries: None, dict)
    await broker.start()
    await broker.published(ROOM, names[0], PAYLOAD, recoverable=True)
    began_s = time.process_time()
    for _ in range(0, messages, a_turn):
        for name in names[:-1]:
            broker.publish(ROOM, name, PAYLOAD, recoverable=True)
        await broker.published(ROOM, names[-1], PAYLOAD, recoverable=True)
    took_s = time.process_time() - began_s
    await broker.stop(1)
    return took_s / messages * 1e6


async def publish_plain_us(url: str, messages: int, a_turn: int) -> float:
    """Return what redis-py takes for the same: a pipeline with a call for each message."""
    client = redis_py.Redis.from_url(url)
    await client.script_load(PUBLISH)
    packed, number = pack_item(Item(PAYLOAD, True)), 0
    began_s = time.process_time()
    for _ in range(0, messages, a_turn):
        pipeline = client.pipeline(transaction=False)
        for _ in range(a_turn):
            number += 1
            names = (f"{CHANNEL}:meta", f"{CHANNEL}:log", CHANNEL)
            pipeline.evalsha(PUBLISH_SHA, 2, *names, "run", "epoch", "plain", number, 100, 60, packed)
        await pipeline.execute()
    took_s = time.process_time() - began_s
    await client.aclose()
    return took_s / messages * 1e6


@contextmanager
def _sending(port: int, messages: int, tick: int, position: Position) -> Iterator[None]:
    """Have another process announce the messages behind a position, `PER_SECOND`."""
    # An epoch may begin with a minus.
    place = f"--place={position.seq},{position.epoch}"
    command = [sys.executable, "-m", "tests.bench.broker", "--send", str(port), str(messages), str(tick), place]
    with pinned(cores()[1]):
        process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def send(port: int, messages: int, tick: int, position: Position) -> None:
    """Announce the messages behind a position, so many at a time, when they are due."""
    packed, epoch = pack_item(Item(PAYLOAD, True)), position.epoch.encode()
    commands = [
        hiredis.pack_command(("PUBLISH", CHANNEL, b"%b:%d:1:%b" % (epoch, position.seq + 1 + number, packed)))
        for number in range(messages)
    ]
    with Redis(port=port) as client:
        connection = client.connection_pool.get_connection()
        began_s = time.perf_counter()
        for sent in range(0, messages, tick):
            connection.send_packed_command([b"".join(commands[sent : sent + tick])], check_health=False)
            for _ in range(len(commands[sent : sent + tick])):
                connection.read_response()
            ahead_s = began_s + (sent + tick) / PER_SECOND - time.perf_counter()
            if ahead_s > 0:
                time.sleep(ahead_s)


async def receive_us(url: str, port: int, messages: int, tick: int) -> float:
    """Return what the broker takes to deliver a message, counted and kept; so many come together."""
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
    position = broker.position(ROOM, "hall")
    assert position is not None
    with _sending(port, messages, tick, position):
        await asyncio.wait_for(done.wait(), 60 + messages / 100)
        took_s = time.process_time() - began_s
    await broker.stop(1)
    return took_s / (messages - 1) * 1e6


async def receive_plain_us(url: str, port: int, messages: int, tick: int) -> float:
    """Return what redis-py takes to hand on the same."""
    client = redis_py.Redis.from_url(url)
    subscription = client.pubsub(ignore_subscribe_messages=True)
    await subscription.subscribe(CHANNEL)
    got, began_s, took_s = 0, 0.0, 0.0
    with _sending(port, messages, tick, Position("plain", 0)):
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


def measure(
    rounds: int, messages: int, only: Collection[str] = tuple(PROMISED_US)
) -> dict[str, tuple[float, float, float]]:
    """Return for each way: µs of ours, of redis-py, and the ratio; medians of interleaved rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in only}
    publishing = [(name, a_turn) for name, a_turn in ((PUBLISHED, A_TURN), (PUBLISHED_ALONE, 1)) if name in only]
    receiving = [(name, tick) for name, tick in ((RECEIVED, TOGETHER), (RECEIVED_ALONE, 1)) if name in only]
    with running_redis() as server, pinned(cores()[0]):
        for _ in range(rounds):
            for name, a_turn in publishing:
                count = messages if a_turn > 1 else messages // 4
                pair = [uvloop.run(way(server.url, count, a_turn)) for way in (publish_us, publish_plain_us)]
                found[name].append((pair[0], pair[1]))
            for name, tick in receiving:
                ways = (receive_us, receive_plain_us)
                pair = [uvloop.run(way(server.url, server.port, messages, tick)) for way in ways]
                found[name].append((pair[0], pair[1]))
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
    parser.add_argument("--send", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        seq, _, epoch = options.place.partition(",")
        send(*options.send, Position(epoch, int(seq)))
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
        promise = "" if most is None else f"≤ {most:g} µs: {'held' if ours <= most else '**missed**'}"
        sys.stdout.write(f"| {name} | {ours:.2f} | {plain:.1f} | {ratio:.1f} | {promise} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a load takes: processor time, memory and calls of Redis for so many members, rooms, workers and brokers.

    python -m wsserver.scaling --rooms 10000 --members 100 --rate 1 --workers 16

A calculation, not a measurement: docs/scaling.md says where its numbers come from, and what they leave out.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Final

from wscore.recovery import DEFAULT_AGE_S, DEFAULT_MEMORY, DEFAULT_MESSAGES

# µs of a worker's processor time, while it has much to do
TAKE_US: Final = 4.5  # to read a client's message and check it
PUBLISH_US: Final = 4.6  # to hand it to Redis, one a turn of the event loop; 0.7 where 32 go together
HEAR_US: Final = 2.6  # to read what a subscription brings
WRITE_US: Final = 5.6  # to write to a client: once for all that waits for it
DELIVER_US: Final = 0.05  # for each message in such a write
HEARTBEAT_US: Final = 8.3  # for a ping of the server and its pong
HEARTBEAT_S: Final = 25.0
# What it takes to be woken, of a worker and of Redis, where nothing else is to be done: 20 µs, and 90 among neighbours.
WAKE_US: Final = 20.0
READS_A_SECOND: Final = 1000  # a subscription is read together beyond, see wsserver/brokers/rediswire.py
# µs of a Redis's processor time, while it has much to do
CALL_US: Final = 3.0
STORE_US: Final = 2.3  # for each message of a call
PUSH_US: Final = 0.2  # for each worker that is told
# bytes
CONNECTION_BYTES: Final = int(9.3 * 1024)
MEMBERSHIP_BYTES: Final = 104
EVENT_BYTES: Final = 100  # besides the message itself
GROUP_BYTES: Final = 4500  # in Redis
WORKER_BYTES: Final = 52 << 20
OWN_DESCRIPTORS: Final = 32

WAIT_S: Final = 0.05  # so long a message may wait to be written together with others
GOOD_SHARE: Final = 0.6  # of a core: the rest is for peaks, and for workers that stand in for others


@dataclass(frozen=True, slots=True)
class Load:
    """Everybody is in one room. `rate` is of messages a second in each room, `size` of bytes of one.

    `wake_us` is what it takes to be woken, in µs.
    """

    rooms: int
    members: int
    rate: float
    workers: int = 1
    brokers: int = 1
    size: int = 150
    wake_us: float = WAKE_US

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return self.rooms * self.members

    @property
    def published(self) -> float:
        """Messages a second in all rooms."""
        return self.rooms * self.rate

    @property
    def homes(self) -> float:
        """In how many workers a room has members, on the average: they come to workers by chance."""
        return self.workers * (1 - (1 - 1 / self.workers) ** self.members)


@dataclass(frozen=True, slots=True)
class Need:
    """What a load takes. Shares are of a core: `worker_alone` if each message is written by itself."""

    worker_alone: float
    worker: float
    broker: float
    deliveries: float
    calls: float
    pushes: float
    worker_bytes: float
    broker_bytes: float
    descriptors: int

    @property
    def bottleneck(self) -> str:
        """What comes to its end first as the load grows."""
        return "workers" if self.worker >= self.broker else "brokers"


def simulate(load: Load) -> Need:
    """Calculate what a load takes, of each worker and each broker."""
    workers, brokers = load.workers, load.brokers
    deliveries = load.published * load.members
    pushes = load.published * load.homes
    worker_us = load.published / workers * (TAKE_US + PUBLISH_US) + pushes / workers * HEAR_US
    beats = load.connections / workers / HEARTBEAT_S
    worker_us += beats * HEARTBEAT_US
    # A message wakes its worker, and so does Redis when it has stored it.
    wakings = 2 * load.published / workers + min(pushes / workers, READS_A_SECOND) + beats
    together = max(1.0, load.rate * WAIT_S)
    kept = min(DEFAULT_MESSAGES, load.rate * DEFAULT_AGE_S) * (load.size + EVENT_BYTES)
    own = load.connections / workers
    histories = min(DEFAULT_MEMORY, load.rooms * load.homes / workers * kept)
    broker_us = (load.published * (CALL_US + STORE_US) + pushes * PUSH_US) / brokers
    wake_us = load.wake_us
    return Need(
        worker_alone=_share(worker_us + deliveries / workers * (WRITE_US + DELIVER_US), wakings, wake_us),
        worker=_share(worker_us + deliveries / workers * (WRITE_US / together + DELIVER_US), wakings, wake_us),
        broker=_share(broker_us, load.published / brokers, wake_us),
        deliveries=deliveries,
        calls=load.published,
        pushes=pushes,
        worker_bytes=WORKER_BYTES + own * (CONNECTION_BYTES + MEMBERSHIP_BYTES) + histories,
        broker_bytes=load.rooms / brokers * (GROUP_BYTES + kept),
        descriptors=int(own) + OWN_DESCRIPTORS,
    )


def _share(work_us: float, wakings: float, wake_us: float) -> float:
    """Return the share of a core that work takes in a second: who is busy already need not be woken."""
    work, waking = work_us / 1e6, wakings * wake_us / 1e6
    return max(work, (work + waking) / (1 + waking))


def report(load: Load) -> str:
    """Return what a load takes as text."""
    need = simulate(load)
    rows = (
        ("connections", f"{load.connections:,}"),
        ("messages published a second", f"{load.published:,.0f}"),
        ("deliveries a second", f"{need.deliveries:,.0f}"),
        ("each worker, messages written one by one", f"{need.worker_alone:.0%} of a core"),
        (f"each worker, written together within {WAIT_S * 1000:.0f} ms", f"{need.worker:.0%} of a core"),
        ("memory of each worker", f"{need.worker_bytes / (1 << 20):,.0f} MiB"),
        ("descriptors of each worker", f"{need.descriptors:,}"),
        ("calls of Redis a second, all brokers", f"{need.calls:,.0f}"),
        ("messages from Redis to workers a second", f"{need.pushes:,.0f}"),
        ("each broker", f"{need.broker:.0%} of a core"),
        ("memory of each broker", f"{need.broker_bytes / (1 << 20):,.0f} MiB"),
        ("first bottleneck", _verdict(simulate(replace(load, wake_us=0)))),  # nobody is woken by then
    )
    return "".join(f"{name:<46}{value}\n" for name, value in rows)


def _verdict(need: Need) -> str:
    share = max(need.worker, need.broker)
    if share > 1:
        return f"{need.bottleneck}: {share:.1f} times what one of them has"
    more = "" if share <= GOOD_SHARE else f", more than {GOOD_SHARE:.0%} leaves little for peaks"
    return f"{need.bottleneck}{more}"


def main() -> None:
    """Read a load from the command line, and print what it takes."""
    parser = argparse.ArgumentParser(prog="python -m wsserver.scaling", description=__doc__)
    for name, kind, default, help in (
        ("--rooms", int, 100, "rooms, or sessions"),
        ("--members", int, 100, "connections in each of them"),
        ("--rate", float, 1.0, "messages a second in each of them"),
        ("--workers", int, 1, "processes that serve, on a core each"),
        ("--brokers", int, 1, "Redis that they share, on a core each"),
        ("--size", int, 150, "bytes of a message"),
        ("--wake-us", float, WAKE_US, "microseconds of processor time to be woken: 90 on a machine with neighbours"),
    ):
        parser.add_argument(name, type=kind, default=default, help=f"{help} (default {default:g})")
    given = parser.parse_args()
    if min(vars(given).values()) <= 0:
        parser.error("all of them are more than 0")
    sys.stdout.write(report(Load(**vars(given))))


if __name__ == "__main__":
    main()

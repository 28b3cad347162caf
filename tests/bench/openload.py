"""One or two workers under an open load: messages come at a fixed rate, whatever the server does.

Each has to reach all of its session: one that does not is a failure. Every worker has as many senders and as many
others as the next one: where the kernel spreads a hundred connections by chance, the busiest has 54 of them on the
average, and that is no cost of the broker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.broker import running_redis
from tests.bench.contenders import Heartbeat, Server, running
from tests.bench.generator import BenchError, Generator

SERVING_S = 30


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """So many senders and connections in each of some sessions, and messages a second in all of them."""

    name: str
    sessions: int
    senders: int
    members: int
    rate: float | None = None  # None: each sender sends again when its own message has come

    @property
    def title(self) -> str:
        """Return it in words."""
        return f"{self.name}, {self.rate:g} messages a second"


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares of a core: of each worker and of Redis. `spread` is the largest part of the connections on one worker."""

    workers: tuple[float, ...]
    messages: float  # a second
    redis: float
    spread: float
    p99_ms: float
    resident_mib: float  # of each worker, on the average

    @property
    def busiest(self) -> float:
        """What the busiest worker needs."""
        return max(self.workers)


MEMORY, ONE, TWO = "one process", "one on Redis", "the busiest of two on Redis"
SETUPS = {MEMORY: 0, ONE: 1, TWO: 2}  # how many workers share a Redis


def measure(
    bench: Generator,
    load: OpenLoad,
    setup: str,
    *,
    tokens: Path,
    secret: str,
    seconds: float,
    by_chance: bool = False,
) -> Measured:
    """Run a load against a fresh server, and a fresh Redis if it takes one; raises BenchError.

    If it is `by_chance` connections stay at the worker that they come to.
    """
    workers = SETUPS[setup]
    with _redis(workers > 0) as (url, redis_pid):
        more = ("--broker", url, *(("--workers", str(workers)) if workers > 1 else ())) if workers else ()
        with running("wsctl", secret=secret, heartbeat=Heartbeat(), core=None, more=more) as server:
            pids = _workers(server, workers) if workers > 1 else [server.pid]
            paced = {} if load.rate is None else {"rate": load.rate, "workers": 0 if by_chance else workers}
            figures = bench.run(
                "broadcast" if load.rate is None else "open",
                port=server.port,
                tokens=tokens,
                seconds=seconds,
                warmup=1,
                server_pids=",".join(map(str, [*pids, redis_pid])),
                session="room",
                sessions=load.sessions,
                senders=load.senders * load.sessions,
                conns=load.members * load.sessions,
                **paced,
            )
            resident_mib = sum(replace(server, pid=pid).rss_kib() for pid in pids) / len(pids) / 1024
    if figures["lost"]:
        raise BenchError(f"{figures['lost']} connections were lost")
    *shares, redis = figures["server_cpus"]
    spread = max(figures["on_workers"], default=0) / (load.members * load.sessions) or 1.0
    return Measured(
        tuple(shares), figures["per_second"] / load.members, redis, spread, figures["p99_us"] / 1000, resident_mib
    )


@contextmanager
def _redis(is_wanted: bool) -> Iterator[tuple[str, int]]:
    if not is_wanted:
        yield "", 0
        return
    with running_redis(pins=False) as server:
        assert server.process is not None
        yield server.url, server.process.pid


def _workers(server: Server, count: int) -> list[int]:
    """Return the processes of the workers, which are all that the supervisor has for children."""
    deadline = time.monotonic() + SERVING_S
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    while time.monotonic() < deadline:
        pids = [int(pid) for pid in children.read_text().split()]
        if len(pids) == count:
            return pids
        time.sleep(0.02)
    raise BenchError(f"the server has not {count} workers")

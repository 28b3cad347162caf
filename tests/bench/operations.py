"""`make bench-ops`: what the operations port takes of a server's processor: publishes, scrapes, lists, `wsctl top`.

    .venv/bin/python -m tests.bench.operations --connections 10000

Processor time of the server alone, its workers and its supervisor together, medians of rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.bench.broker import running_redis
from tests.bench.generator import BenchError, Generator, build
from tests.bench.pinning import cores, pinned
from wsclient.publishing.publisher import AsyncPublisher
from wsclient.top.reading import Wanted, read_sample
from wscore.guest import mint_guest_token
from wscore.wallclock import now_ms

PUBLISHES: Final = 3200
AT_ONCE: Final = 16
SCRAPES: Final = 50
SAMPLES: Final = 30  # of `wsctl top`
HANG_S: Final = 60
USERS: Final = 1000
# A machine that is busy closes no connection for that.
LASTING: Final = ("--heartbeat-interval", "1h", "--heartbeat-timeout", "2h", "--handshake-timeout", "5m")
BODY: Final = b'{"type":"news","data":{"text":"hello"},"room":"lobby"}'


@dataclass(frozen=True, slots=True)
class OpsServer:
    """A server with an operations port."""

    process: psutil.Process
    port: int
    ops_url: str

    def spent_s(self) -> float:
        """Return the processor time of all its processes so far."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


@contextmanager
def serving(*options: str) -> Iterator[OpsServer]:
    """Start a server on the first core; raises BenchError if it does not start."""
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "--port", "0", "--ops-port", "0", *options]
    command += [*LASTING, "--log-level", "warning", "--max-connections", "0", "--max-pending", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    with pinned(cores()[0]):
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert started.stderr is not None
    port = 0
    try:
        for line in started.stderr:
            if line.startswith("wsctl serves "):
                port = int(line.split()[2].split("/")[2].rpartition(":")[2])
            if line.startswith("  ops:"):
                yield OpsServer(psutil.Process(started.pid), port, line.split()[1])
                return
        raise BenchError("the server did not start")
    finally:
        started.terminate()
        started.communicate(timeout=HANG_S)


def publish(server: OpsServer) -> None:
    """Publish to a room, one request under way on each of a few connections."""
    host = server.ops_url.removeprefix("http://")
    head = f"POST /api/v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    address, _, port = host.rpartition(":")
    with ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection((address, int(port)), HANG_S)) for _ in range(AT_ONCE)]
        for _ in range(0, PUBLISHES, AT_ONCE):
            for peer in peers:
                peer.sendall(request)
            for peer in peers:
                answer = b""
                while not answer.endswith(b"}"):
                    answer += peer.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise BenchError(answer.decode())


def scrape(server: OpsServer) -> None:
    """Read all numbers, as Prometheus does."""
    with httpx.Client(base_url=server.ops_url, timeout=HANG_S, trust_env=False) as client:
        for _ in range(SCRAPES):
            client.get("/metrics").raise_for_status()


def watch(server: OpsServer, connections: int) -> None:
    """Ask what `wsctl top` asks."""

    async def ask() -> None:
        async with AsyncPublisher(server.ops_url, None, timeout_s=HANG_S) as publisher:
            for _ in range(SAMPLES):
                sample = await read_sample(publisher, Wanted())
                if sample.connections.total != connections or sample.connections.missing:
                    raise BenchError(f"the server has {sample.connections.total} connections, not {connections}")

    asyncio.run(ask())


def costs_ms(server: OpsServer, run: Callable[[OpsServer], None], times: int, rounds: int) -> float:
    """Return what the server takes for one of so many."""
    run(server)
    found = []
    for _ in range(rounds):
        before_s = server.spent_s()
        run(server)
        found.append((server.spent_s() - before_s) / times * 1000)
    return statistics.median(found)


def measure(server: OpsServer, connections: int, rounds: int) -> dict[str, float]:
    """Return what a server takes for a publish, a scrape, and a sample of `wsctl top`, in ms."""
    return {
        "publish": costs_ms(server, publish, PUBLISHES, rounds),
        "scrape": costs_ms(server, scrape, SCRAPES, rounds),
        "top": costs_ms(server, lambda server: watch(server, connections), SAMPLES, rounds),
    }


def _say(name: str, costs: dict[str, float]) -> None:
    told = [
        f"a publish {costs['publish'] * 1000:.0f} µs, which is {1000 / costs['publish']:,.0f} a second on one core",
        f"a scrape {costs['scrape']:.1f} ms",
        f"a sample of wsctl top {costs['top']:.1f} ms",
    ]
    sys.stdout.write(f"{name}: {'; '.join(told)}\n")
    sys.stdout.flush()


def main() -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000, help="that are open meanwhile")
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args()
    try:
        generator = Generator(build(), cores()[1])
        with tempfile.TemporaryDirectory() as folder, running_redis() as redis:
            tokens = Path(folder) / "tokens"
            tokens.write_text("".join(f"{mint_guest_token(uuid.uuid4(), now_ms())}\n" for _ in range(USERS)))
            for name, options in (
                ("one process", ()),
                ("two workers", ("--workers", "2", "--broker", redis.url)),
            ):
                with serving(*options) as server:
                    _say(f"{name}, nobody connected", measure(server, 0, chosen.repeat))
                    with generator.holding(chosen.connections, port=server.port, tokens=tokens):
                        _say(
                            f"{name}, {chosen.connections:,} connections",
                            measure(server, chosen.connections, chosen.repeat),
                        )
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`wsctl loadtest` over two hosts: network namespaces with a cable between them, and clocks that differ by far.

The other host has its own addresses, its own monotonic clock (a time namespace) and its own boot id, so that everything
that tells two machines apart tells these apart too.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HANG_S = 60
AHEAD_S = 5000
ROOT = Path(__file__).parents[2]
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=HANG_S)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class OtherHost:
    """As far as programs can see a second machine: `command` runs something there, `here` is our end of the cable."""

    here: str
    command: Callable[..., list[str]]


@pytest.fixture
def other_host(tmp_path) -> Iterator[OtherHost]:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs Linux, root, ip and unshare")
    name = uuid.uuid4().hex[:8]
    net = f"10.{213 + os.getpid() % 32}.{os.getpid() // 32 % 256}"
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")

    def command(*arguments: str) -> list[str]:
        as_another = ["unshare", "--mount", "--time", "--monotonic", str(AHEAD_S), "sh", "-c"]
        steps = f'mount --bind {boot_id} {BOOT_ID} && exec "$@"'
        return ["ip", "netns", "exec", f"wsctl-{name}", *as_another, steps, "sh", *arguments]

    try:
        run("ip", "netns", "add", f"wsctl-{name}")
    except subprocess.CalledProcessError:
        pytest.skip("no network namespaces here")
    try:
        run("ip", "link", "add", f"w{name}a", "type", "veth", "peer", f"w{name}b", "netns", f"wsctl-{name}")
        run("ip", "addr", "add", f"{net}.1/30", "dev", f"w{name}a")
        run("ip", "link", "set", f"w{name}a", "up")
        there = ("ip", "-n", f"wsctl-{name}")
        run(*there, "addr", "add", f"{net}.2/30", "dev", f"w{name}b")
        run(*there, "link", "set", f"w{name}b", "up")
        run(*there, "link", "set", "lo", "up")
        yield OtherHost(f"{net}.1", command)
    finally:
        run("ip", "netns", "del", f"wsctl-{name}")  # its end of the cable goes with it, and so does ours


@pytest.mark.slow
def test_delivery_between_two_hosts_is_measured_with_an_offset_whose_uncertainty_is_told(
    other_host, serving, start_wsctl, tmp_path
):
    free_port = unused_port()
    server = serving("--host", other_host.here, "--profile", "dev")
    load = ("broadcast", server.url, "--connections", "8", "--publishers", "4", "--rate", "40", "--ramp", "200ms")
    load += ("--duration", "2s", "--drain", "1s", "--threshold", "loss<=0")
    master = start_wsctl("loadtest", *load, "--master", str(free_port), "--expect-workers", "2", "--json")
    here = start_wsctl("loadtest", *load, "--worker", f"127.0.0.1:{free_port}")
    wsctl = (sys.executable, "-m", "cli.main", "loadtest", *load, "--worker", f"{other_host.here}:{free_port}")
    there = subprocess.Popen(
        other_host.command(*wsctl),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        out, err = master.communicate(timeout=HANG_S)
        said = there.communicate(timeout=HANG_S)[0]
    finally:
        there.kill()
        there.wait(HANG_S)
    assert master.returncode in (0, 98), err  # a machine that is busy may be called one
    summary = json.loads(out)
    assert summary["clock"]["kind"] == "estimated"
    assert 0 < summary["clock"]["uncertaintyUs"] < 1e6
    # Eight receivers over two hosts each got what four publishers over two hosts sent.
    assert (summary["ledger"]["expected"], summary["ledger"]["lost"]) == (80 * 8, 0)
    assert summary["ledger"]["received"] == 80 * 8
    assert 0 < summary["latencies"]["latency"]["maxUs"] < 5e6  # not the thousands of seconds between the clocks
    assert here.wait(HANG_S) in (0, 98)
    assert there.returncode in (0, 98), said

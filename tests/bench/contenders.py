"""The servers under test: how each is started, and how its memory is read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.generator import BenchError
from tests.bench.pinning import pinned

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_S = 30
STOP_S = 15

_PORT = re.compile(r'"port":(\d+)|://127\.0\.0\.1:(\d+)/')
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The server's ping interval and time-out."""

    interval_ms: int = 25_000
    timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: where it listens, and its process."""

    name: str
    port: int
    pid: int

    def rss_kib(self) -> int:
        """Return the resident memory in KiB (proc(5), VmRSS)."""
        match = _RSS.search(Path(f"/proc/{self.pid}/status").read_text())
        if match is None:
            raise BenchError(f"{self.name} has ended")
        return int(match[1])


# Limits so high that none is reached, but every message is counted against them.
_LIMITS = ("--rate-limit", "10000000", "--byte-rate-limit", "1024MiB")


def _wsctl(*arguments: str) -> tuple[str, ...]:
    common = ("serve", "--port", "0", "--log-level", "warning", "--max-connections", "20000")
    return (sys.executable, "-m", "cli.main", *common, *arguments)


def _bun() -> str:
    """Return Bun's program from the package for this platform: its own installer is not run."""
    for program in sorted(HERE.glob("node_modules/@oven/bun-*/bin/bun")):
        if subprocess.run([program, "--version"], capture_output=True, timeout=START_S, check=False).returncode == 0:
            return str(program)
    raise BenchError("npm has no Bun for this platform")


BEFORE = "before"  # wsctl of another checkout, to be compared with this one
BEFORE_VARIABLE = "BENCH_BEFORE"


def command(name: str) -> tuple[str, ...]:
    """Return how a server is started; raises BenchError if it cannot be."""
    if name == "node":
        node = shutil.which("node")
        if node is None:
            raise BenchError("node is not installed")
        return (node, str(HERE / "servers" / "node_ws.js"))
    if name == "bun":
        return (_bun(), str(HERE / "servers" / "bun_serve.js"))
    if name == BEFORE and not (Path(os.environ.get(BEFORE_VARIABLE, "")) / "wsserver").is_dir():
        raise BenchError(f"{BEFORE_VARIABLE} names no checkout of wsctl")
    return {
        BEFORE: _wsctl(*_LIMITS),
        "wsctl": _wsctl(*_LIMITS),
        "wsctl-unlimited": _wsctl(),
        "wsctl-ops": _wsctl("--ops-port", "0", *_LIMITS),
        "wsctl-no-recovery": _wsctl("--recovery-messages", "0", *_LIMITS),
        "wsctl-websockets": _wsctl("--engine", "websockets", *_LIMITS),
        "wsctl-voice": _wsctl("--voice", "--responder", "rules"),
    }[name]


NAMES = ("wsctl", BEFORE, "wsctl-unlimited", "wsctl-ops", "wsctl-no-recovery", "wsctl-websockets", "node", "bun")
DEFAULT_NAMES = ("wsctl", "wsctl-unlimited", "node", "bun")


def install() -> None:
    """Install what package-lock.json names, unless that was done; raises BenchError."""
    lock, done = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError("npm is not installed")
    # No scripts: Bun's would download, and its program is in the package for the platform anyway.
    arguments = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(arguments, cwd=HERE, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode:
        raise BenchError(f"npm ci failed: {result.stderr.strip()[-500:]}")


@contextmanager
def running(
    name: str, *, secret: str, heartbeat: Heartbeat, core: int | None, more: tuple[str, ...] = ()
) -> Iterator[Server]:
    """Start a server on a free port of 127.0.0.1, with `more` arguments, and stop it afterwards; raises BenchError."""
    arguments = command(name) + more
    if "cli.main" in arguments:
        interval, timeout = heartbeat.interval_ms, heartbeat.timeout_ms
        arguments += ("--heartbeat-interval", f"{interval}ms", "--heartbeat-timeout", f"{timeout}ms")
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "output", "w+") as output:
        with pinned(core):
            process = subprocess.Popen(
                arguments,
                cwd=folder,  # where no settings file is found by chance
                env=_environment(secret, heartbeat, Path(os.environ[BEFORE_VARIABLE]) if name == BEFORE else ROOT),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Server(name, _port(name, process, Path(output.name)), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(secret: str, heartbeat: Heartbeat, root: Path) -> Mapping[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    return clean | {
        "PYTHONPATH": str(root),
        "NODE_ENV": "production",
        "WSCTL_JWT_SECRET": secret,
        "BENCH_JWT_SECRET": secret,
        "BENCH_HEARTBEAT_INTERVAL_MS": str(heartbeat.interval_ms),
        "BENCH_HEARTBEAT_TIMEOUT_MS": str(heartbeat.timeout_ms),
    }


def _port(name: str, process: subprocess.Popen[bytes], output: Path) -> int:
    deadline = time.monotonic() + START_S
    while True:
        text = output.read_text()
        match = _PORT.search(text)
        if match is not None:
            return int(match[1] or match[2])
        if process.poll() is not None:
            raise BenchError(f"{name} ended at once: {text.strip()[-500:]}")
        if time.monotonic() > deadline:
            raise BenchError(f"{name} does not say where it listens")
        time.sleep(0.02)

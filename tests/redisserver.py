"""A real Redis, or a Valkey, started for a test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import redis as redis_py

PROGRAMS = ("redis-server", "valkey-server")
START_S = 20


def redis_program() -> str | None:
    """Return the server that tests start: what TEST_REDIS_SERVER says, or else what is found."""
    chosen = os.environ.get("TEST_REDIS_SERVER")
    if not chosen:
        return next(filter(None, map(shutil.which, PROGRAMS)), None)
    program = shutil.which(chosen)
    if program is None:
        raise FileNotFoundError(f"TEST_REDIS_SERVER={chosen} cannot be run")
    return program


class Pair(Protocol):
    """Files of a certificate and its key."""

    cert: Path
    key: Path


def free_port() -> int:
    """Return a port that is free for now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def tls_rows(pair: Pair) -> list[str]:
    """Return the rows of a configuration with which a Redis or a Sentinel speaks TLS."""
    files = {"cert-file": pair.cert, "key-file": pair.key, "ca-cert-file": pair.cert}
    return [*(f"tls-{name} {path}" for name, path in files.items()), "tls-auth-clients no", "tls-replication yes"]


class RedisServer:
    """A Redis of our own, on a free port; with a certificate it speaks TLS on another one too."""

    def __init__(
        self,
        program: str,
        directory: Path,
        options: tuple[str, ...],
        pair: Pair | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.program = program
        self.directory = directory
        self.options = options
        self.environment = {**os.environ, **(environment or {})}
        self.port = free_port()
        self.tls_port = 0
        if pair is not None:
            self.tls_port = free_port()
            rows = [*tls_rows(pair), f"tls-port {self.tls_port}"]
            self.options += tuple(part for row in rows for part in f"--{row}".split(" ", 1))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        return f"rediss://127.0.0.1:{self.tls_port}/0"

    @property
    def client(self) -> redis_py.Redis:
        return redis_py.Redis(port=self.port, socket_timeout=START_S)

    def start(self, *options: str) -> RedisServer:
        self.process = subprocess.Popen(
            [
                *(self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
                *("--save", "", "--appendonly", "no", "--loglevel", "warning", *self.options, *options),
            ],
            stdout=subprocess.DEVNULL,
            env=self.environment,
        )
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with self.client as client:
                    client.ping()
                return self
            except (redis_py.exceptions.ConnectionError, redis_py.exceptions.BusyLoadingError):
                time.sleep(0.02)
        raise AssertionError(f"{self.program} does not start")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.kill()

"""Runs `wsctl` the way a user does: as a process, in an empty directory and a clean environment."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

HANG_S = 60
WSCTL = [sys.executable, "-P", "-m", "cli.main"]  # -P: as the script `wsctl`, which has its own directory on the path
ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    return clean | {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"} | variables


Wsctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wsctl(tmp_path: Path) -> Wsctl:
    """Run a command to its end: `wsctl("token", "guest", stdin="", WSCTL_TOKEN="...")`."""

    def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*WSCTL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(**variables),
            timeout=HANG_S,
            check=False,
        )

    return run


@pytest.fixture
def wsctl_command() -> list[str]:
    return WSCTL


@pytest.fixture
def clean_environment() -> dict[str, str]:
    return environment()


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run `wsctl` by a line of the shell, with its redirections: `shell("token guest >&-")`."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f"{shlex.join(WSCTL)} {line}"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=HANG_S,
            check=False,
        )

    return run


@pytest.fixture
def start_wsctl(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command and return its process, with pipes for standard output and error."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, stdin: int = subprocess.DEVNULL, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*WSCTL, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(**variables),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(HANG_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                with suppress(BrokenPipeError):
                    pipe.close()


class Serving:
    """A running `wsctl serve`; its log is read as JSON lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.process = process
        self._stderr = process.stderr
        self.lines: list[str] = []
        self.url = ""

    def wait_for(self, event: str) -> dict[str, Any]:
        for line in self._stderr:
            self.lines.append(line)
            fields: dict[str, Any] = json.loads(line)
            if fields["event"] == event:
                return fields
        raise AssertionError(f"no {event} in: {''.join(self.lines)}")

    def stop(self) -> int:
        """End it with SIGTERM and read the rest of its log."""
        self.process.terminate()
        self.lines += self._stderr.readlines()
        return self.process.wait(HANG_S)


@contextmanager
def serving_in(folder: Path) -> Iterator[Callable[..., Serving]]:
    """Yield what starts servers with this working directory; they end with the block."""
    started: list[Serving] = []

    def start(*arguments: str, **variables: str) -> Serving:
        command = [*WSCTL, "serve", "--port", "0", "--log-format", "json", *arguments]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env=environment(**variables),
        )
        server = Serving(process)
        started.append(server)
        server.url = server.wait_for("server.listening")["url"]
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(HANG_S)
        assert server.process.stderr is not None
        server.process.stderr.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start servers on free ports: `serving("--path", "/x/", app=..., WSCTL_JWT_SECRET=...)`."""
    with serving_in(tmp_path) as start:
        yield start

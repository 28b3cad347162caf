"""Runs `wsctl` the way a user does: as a process, in an empty directory and a clean environment."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.forked import ROOT, WSCTL, environment

__all__ = ["HANG_S", "ROOT", "WSCTL", "Serving", "Wsctl", "environment", "serving_in", "start_wsctl", "wsctl"]
HANG_S = 60

Wsctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wsctl(tmp_path: Path) -> Wsctl:
    """Run a command to its end: `wsctl("token", "guest", stdin="", WSCTL_TOKEN="...")`; `afresh` as in `forked`."""

    def run(
        *arguments: str, stdin: str = "", afresh: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return forked.run(
            [*arguments], stdin, afresh=afresh, timeout=HANG_S, cwd=tmp_path, env=environment(**variables)
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
    """Start a command and return its process, with pipes for standard output and error; `afresh` as in `forked`."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, stdin: int = subprocess.DEVNULL, afresh: bool = False, **variables: str
    ) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = forked.start(
            [*arguments],
            afresh=afresh,
            stdin=stdin,
            stdout=pipe,
            stderr=pipe,
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

    def start(*arguments: str, afresh: bool = False, **variables: str) -> Serving:
        process = forked.start(
            ["serve", "--port", "0", "--log-format", "json", *arguments],
            afresh=afresh,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
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

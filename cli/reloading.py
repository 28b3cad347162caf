"""`wsctl serve --reload`: a server that is started again when the code changes, by a process that only watches."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from cli.exits import ExitCode
from cli.output import note
from wscore.errors import ConfigError

LOOK_MS: Final = 200  # between two looks at whether the server has ended by itself
GRACE_S: Final = 5.0  # beyond the server's own time for its end
MAX_SHOWN: Final = 3


def serve_on_change(host: str, port: int, drain_timeout_ms: int) -> int:
    """Run the command that was given without --reload, again after each change below this folder; returns its end.

    Every run has the same port, also where the first one took a free one. Raises ConfigError without watchfiles.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigError("--reload", "needs the package watchfiles", "pip install watchfiles") from None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = _Server(_command(port or _free_port(host)), drain_timeout_ms / 1000 + GRACE_S)
    changes = watch(
        ".",
        watch_filter=PythonFilter(extra_extensions=(".toml",)),
        stop_event=stop,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    try:
        for changed in changes:
            if changed:
                note(f"{_shown(path for _, path in changed)} changed")
                server.end()
            if changed or not server.has_begun:
                server.start()
            elif (code := server.ended_now()) is not None:
                if code in (ExitCode.DONE, ExitCode.INTERRUPTED):
                    return code
                note(f"the server has ended with {code}; it is started again after the next change")
    finally:
        server.end()
    return ExitCode.DONE


class _Server:
    """The process that serves."""

    def __init__(self, command: Sequence[str], patience_s: float) -> None:
        self._command = command
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._is_known_to_have_ended = False

    @property
    def has_begun(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._is_known_to_have_ended = False
        # No bytecode: a file that changes twice within a second, by no byte more, would run as it was at first.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(self._command, env=environment)  # noqa: S603  this very program

    def ended_now(self) -> int | None:
        """Return with which code it has ended by itself, once."""
        if self._process is None or self._is_known_to_have_ended or (code := self._process.poll()) is None:
            return None
        self._is_known_to_have_ended = True
        return code

    def end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _command(port: int) -> list[str]:
    program = [sys.argv[0]]
    if sys.argv[0].endswith(".py"):  # -P: as the script `wsctl`, which has its own directory on the path
        program = [sys.executable, "-P", "-m", "cli.main"]
    return [*program, *sys.argv[1:], "--no-reload", "--port", str(port)]


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        found: int = probe.getsockname()[1]
    return found


def _shown(paths: Iterable[str]) -> str:
    names = sorted({os.path.relpath(path) for path in paths})
    return ", ".join(names[:MAX_SHOWN]) + (" and more" if len(names) > MAX_SHOWN else "")

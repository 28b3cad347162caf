"""Has a forked `wsctl loadtest` get its driver from the process that drivers are forked from.

That one is no child of it, so neither is the driver: its exit code comes by the socket on which it was asked for.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from loadtest.running import DRIVER
from tests.forked import MESSAGE_BYTES, Forked, ask

waitpid = os.waitpid


class Drivers:
    """Those of this process, by pid."""

    def __init__(self) -> None:
        self.address = ""
        self._links: dict[int, socket.socket] = {}

    def fork(self, arguments: list[str], folder: Path, variables: dict[str, str], descriptors: list[int]) -> int:
        """Have one forked; returns its pid."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.connect("\0" + self.address)
        pid = ask(link, arguments, folder, variables, descriptors, new_session=True)
        self._links[pid] = link
        return pid

    def wait(self, pid: int, options: int) -> tuple[int, int]:
        """Wait for the end of one, or of another child."""
        link = self._links.get(pid)
        if link is None:
            return waitpid(pid, options)
        with link:
            return pid, int(link.recv(MESSAGE_BYTES))

    def __contains__(self, pid: int) -> bool:
        return pid in self._links


DRIVERS = Drivers()


class Popen(Forked):
    """As that of `subprocess`, but for the driver."""

    forks = DRIVERS

    def _execute_child(self, args: Any, executable: Any, *rest: Any) -> None:
        if tuple(args) == DRIVER:
            preexec_fn, close_fds, pass_fds, cwd, env, *more = rest
            arguments, folder, variables = ["loadtest.driver"], cwd or os.getcwd(), env or dict(os.environ)
            super()._execute_child(arguments, executable, preexec_fn, close_fds, pass_fds, folder, variables, *more)
        else:
            super(Forked, self)._execute_child(args, executable, *rest)  # type: ignore[misc]  # whose place this takes

    def _internal_poll(self, **options: Any) -> int | None:
        return self.returncode if self.pid in self.forks else super()._internal_poll(**options)


def take_over(address: str) -> None:
    """Start drivers so from now on; `asyncio` waits for an end by `os.waitpid`."""
    DRIVERS.address = address
    subprocess.Popen = Popen  # type: ignore[misc]
    os.waitpid = DRIVERS.wait

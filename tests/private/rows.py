"""What a row of the list of private parts is, and what its checks share."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import uvloop

from tests.pages import ROOT

OURS: Final = ("cli", "wsserver", "wsclient", "loadtest", "wscore")
SOURCES: Final = {path: path.read_text("utf-8") for package in OURS for path in sorted((ROOT / package).rglob("*.py"))}
HANG_S: Final = 60


@dataclass(frozen=True)
class Part:
    """What it is, the names that we use it by, what to do when it has moved, and its check."""

    what: str
    names: tuple[str, ...]
    mend: str
    check: Callable[[], None]

    def __str__(self) -> str:
        return re.sub(r"\W+", "-", self.what).strip("-")

    @property
    def expected(self) -> str:
        """What we count on: the check says it."""
        return " ".join((self.check.__doc__ or "").split())

    @property
    def where(self) -> list[str]:
        """The files of ours that use it."""
        return sorted({path for name in self.names for path in files_with(name)})

    @property
    def row(self) -> str:
        """Its row of the page."""
        links = ", ".join(f"[{path}](../../{path})" for path in self.where)
        return f"| {self.what} | {links} | {self.expected} | {self.mend} |"


@cache
def files_with(name: str) -> list[str]:
    """Return the files of ours in which a name stands."""
    whole = re.compile(rf"(?<!\w){re.escape(name)}")
    return [path.relative_to(ROOT).as_posix() for path, text in SOURCES.items() if whole.search(text)]


PARTS: Final[list[Part]] = []
Check = Callable[[], None]


def part(what: str, *names: str, mend: str) -> Callable[[Check], Check]:
    """Make a check a row; `names` are the texts by which our files that use the part are found."""

    def add(check: Check) -> Check:
        PARTS.append(Part(what, names, mend, check))
        return check

    return add


def on_both_loops(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function on asyncio's event loop, and then on uvloop's."""

    async def bounded() -> None:
        async with asyncio.timeout(HANG_S):
            await main()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection, which do not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    for item in (ours, theirs):
        item.setblocking(False)
    return ours, theirs


def run_apart(script: str) -> str:
    """Run a script in a process of its own, as Locust patches the one that imports it; returns its standard error."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert result.returncode == 0, result.stderr
    return result.stderr

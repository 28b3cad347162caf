"""How long it takes until something is to be seen: `wsctl --help` and the terminal client, beside what they stand on.

A bare interpreter and a Textual application with one label start in turn with them, so that the ratio says what is the
project's own. Bytecode is cached beforehand, as an installed package has it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.generator import BenchError
from tests.bench.report import Spread

ROOT = Path(__file__).parents[2]
HANG_S = 30
ROUNDS = 15
BARE_APP = """
from textual.app import App
from textual.widgets import Label

class Bare(App):
    def compose(self):
        yield Label("first frame")

Bare().run()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A program, and what stands on the screen once it is there."""

    title: str
    arguments: tuple[str, ...]
    shows: bytes
    beside: str | None = None
    most_ms: float | None = None
    most_ratio: float | None = None  # of what it stands beside


STARTS = (
    Start("a bare interpreter", ("-c", "print('first', 'line')"), b"first line"),
    Start("`wsctl --help`", ("-m", "cli.main", "--help"), b"explain", "a bare interpreter", 150),
    Start("a bare Textual app", ("-c", BARE_APP), b"first frame"),
    Start(
        "`wsctl connect URL`, first frame",
        ("-m", "cli.main", "connect", "ws://127.0.0.1:9/nobody-there/"),
        b"nobody-there",
        "a bare Textual app",
        500,
        1.6,
    ),
)


def measure(say: Callable[[str], None]) -> tuple[str, Any]:
    """Start each in turn, and return a table and the same as data; raises BenchError."""
    with tempfile.TemporaryDirectory() as folder:
        taken: dict[str, list[float]] = {start.title: [] for start in STARTS}
        for turn in range(ROUNDS + 1):
            for start in STARTS:
                seconds = first_output_s(start, Path(folder))
                if turn:  # the first one fills the caches
                    taken[start.title].append(seconds * 1000)
                    say(f"{start.title} {turn}: {seconds * 1000:.0f} ms")
    lines = ["| from the start of the process | ms: median (min–max) | ratio | promise |", "|---|---|---|---|"]
    data = {}
    for start in STARTS:
        spread = Spread.of(taken[start.title])
        ratio = ""
        promises = []
        if start.most_ms is not None:
            promises.append(_promise(spread.median, start.most_ms, "ms"))
        if start.beside is not None:
            pairs = zip(taken[start.title], taken[start.beside], strict=True)
            times = Spread.of([own / other for own, other in pairs]).median
            ratio = f"{times:.2f} × {start.beside}"
            if start.most_ratio is not None:
                promises.append(_promise(times, start.most_ratio, "×"))
        promise = ", ".join(promises)
        figures = f"{spread.median:.0f} ({spread.least:.0f}–{spread.most:.0f})"
        lines.append(f"| {start.title} | {figures} | {ratio} | {promise} |")
        data[start.title] = spread.as_json()
    return "\n".join(lines), data


def _promise(value: float, most: float, unit: str) -> str:
    return f"≤ {most:g} {unit}: " + ("held" if value <= most else "**missed**")


def first_output_s(start: Start, folder: Path) -> float:
    """Run a program in a terminal of 80 by 24 and return the seconds until it shows what it should."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WSCTL_", "PYTHON"))}
    environment = clean | {
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "XDG_STATE_HOME": str(folder),
    }
    began_s = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, *start.arguments], environment)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        shown = b""
        while start.shows not in shown:
            left_s = began_s + HANG_S - time.perf_counter()
            if not select.select([terminal], [], [], max(left_s, 0))[0]:
                raise BenchError(f"{start.title} does not show {start.shows.decode()}")
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:
                raise BenchError(f"{start.title} ended without {start.shows.decode()}") from None
        return time.perf_counter() - began_s
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)

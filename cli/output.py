"""The only place that prints: data on standard output, narration on standard error (design section 10)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from wscore.errors import WsctlError
from wscore.text import describe, json_line, neutralise, redact


class ReaderGoneError(WsctlError):
    """Whoever read our standard output has enough, as in `wsctl connect | head -1`."""


class OutputError(WsctlError):
    """Standard output does not take what is written: its disk is full, or it was closed."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"standard output: {self.problem}"


def out(text: str) -> None:
    """Print one line of data, at once; raises ReaderGoneError or OutputError."""
    print(text, flush=True)


def out_bytes(data: bytes) -> None:
    """Write data that is no text, at once; raises ReaderGoneError or OutputError."""
    with writing():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def writing() -> Iterator[None]:
    """Turn what goes wrong with standard output into ReaderGoneError or OutputError."""
    try:
        yield
    except OSError as error:
        # What is still buffered must not be written again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        raise OutputError(error.strerror or str(error)) from None


def out_json(value: object) -> None:
    """Print one JSON document on one line; what would move a cursor or turn a text around is escaped."""
    import json

    out(json_line(json.dumps(value, ensure_ascii=False)))


def note(text: str) -> None:
    """Print one line of narration; control characters are shown, tokens are not."""
    # One call: the stream takes or drops it whole, see cli/streams.py.
    sys.stderr.write(redact(neutralise(text)) + "\n")


def fail(text: str) -> None:
    """Print the one line that says what is wrong and how to mend it."""
    note(f"wsctl: {text}")


def fail_with_traceback(error: BaseException) -> None:
    """Print where an exception comes from, those before it first; what it says only if it is one of ours."""
    import traceback

    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        fail_with_traceback(before)
        note("which led to:")
    note("Traceback (most recent call last):")
    for line in "".join(traceback.format_tb(error.__traceback__)).splitlines():
        note(line)
    fail(describe(error))


def guard_logging() -> None:
    """Let what libraries log in a process without a log of its own come out in one line, as everything else here."""
    import logging

    class SingleLineFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            # What follows the first line quotes values: asyncio adds the repr of a task with its exception.
            text = record.getMessage().partition("\n")[0]
            error = record.exc_info[1] if record.exc_info else None
            told = text if error is None else f"{text}: {describe(error)}"
            return redact(neutralise(f"wsctl: {record.name}: {told}"))

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(SingleLineFormatter())


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> None:
    """Print rows in aligned columns; the last column wraps at the width of the terminal."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for row in rows:
        if not grid.columns:
            for column in range(len(row)):
                grid.add_column(no_wrap=column < len(row) - 1)
        grid.add_row(*(Text(neutralise(cell)) for cell in row))
    console = Console(highlight=False, markup=False)
    with console.capture() as capture:
        console.print(Padding(grid, (0, 0, 0, len(indent))))
    for line in capture.get().splitlines():
        out(line.rstrip())  # rich pads each line to the full width

"""The standard streams of a command: what is closed, full or read by nobody neither breaks nor holds up anything."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Final

from cli.output import writing

# A pipe that can be written to takes this much without blocking (POSIX: PIPE_BUF is at least 512, Linux has 4096).
CHUNK_BYTES: Final = getattr(select, "PIPE_BUF", 512)


def prepare_streams() -> None:
    """Make the standard streams safe to use, whatever the command was started with.

    A descriptor that was closed is taken by one that refuses to be used; else the next file or socket that is opened
    would get its number, and what is meant for people would go there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if descriptor == 0 else os.O_RDONLY)  # the lowest free one: this
            os.set_inheritable(descriptor, True)
    # An ASCII terminal gets escapes instead of an error.
    if sys.stdout is None:
        sys.stdout = Data(open(1, "wb", closefd=False), "utf-8", "backslashreplace")  # noqa: SIM115 as long as the process
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:  # who put another there keeps it
        was = sys.stdout
        sys.stdout = Data(was.buffer, was.encoding, "backslashreplace", line_buffering=was.line_buffering)
    if sys.stderr is sys.__stderr__:  # as above
        sys.stderr = Narration(2, "utf-8" if sys.stderr is None else sys.stderr.encoding)


class Data(io.TextIOWrapper):
    """Standard output: whoever prints, the argument parser too, gets ReaderGoneError or OutputError where it fails."""

    def write(self, text: str, /) -> int:
        """Write a text; raises ReaderGoneError or OutputError."""
        with writing():
            return super().write(text)

    def flush(self) -> None:
        """Write what waits in the buffer; raises ReaderGoneError or OutputError."""
        with writing():
            super().flush()


class Narration(io.TextIOBase):
    """Standard error for people: never raises, and never waits for a pipe that nobody reads.

    What finds no room is dropped; the next text that finds some is preceded by how many lines that were. `dropped`
    counts them since the last text that found some.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self.dropped = 0
        self._torn = False  # whether the last text was written in part

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written; what it does not have becomes an escape."""
        return self._encoding

    def fileno(self) -> int:
        """Return the descriptor that it writes to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether a terminal shows what is written."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Write a text at once, or drop it."""
        told = ""
        if self.dropped:
            told = "\n" * self._torn + f"(lines that nobody read and that are missing here: {self.dropped})\n"
        if self._write_out((told + text).encode(self._encoding, "backslashreplace")):
            self.dropped = 0
        else:
            self.dropped += text.count("\n")
        return len(text)

    def _write_out(self, data: bytes) -> bool:
        waits = self.isatty()  # somebody who holds a terminal still is going to let it go
        size = len(data)
        try:
            while data:
                if not waits and not _has_room(self._descriptor):
                    self._torn = len(data) < size
                    return False
                data = data[os.write(self._descriptor, data if waits else data[:CHUNK_BYTES]) :]
        except OSError:
            return False
        return True


def _has_room(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows can ask sockets only
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))

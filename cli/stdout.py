"""Standard output as lines, written without blocking the event loop or leaving a thread behind."""

from __future__ import annotations

import asyncio
import os
import sys

from cli.output import OutputError
from cli.streams import CHUNK_BYTES


class StdoutLines:
    """Takes lines at once and writes them when their reader is ready; use it inside a running event loop.

    The descriptor stays in blocking mode, which it shares with whoever else has it. Sizes in bytes.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._descriptor = sys.stdout.fileno()
        self._encoding, self._errors = sys.stdout.encoding, sys.stdout.errors or "strict"
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._is_watched = False
        self._problem: OSError | None = None
        self._moved = asyncio.Event()
        self._failed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many bytes wait for the reader."""
        return len(self._waiting)

    def put(self, line: str) -> None:
        """Write a line when its reader is ready for it; once it cannot be written, nothing is."""
        if self._problem is not None:
            return
        self._waiting += f"{line}\n".encode(self._encoding, self._errors)
        if self._is_watched:
            return
        try:
            self._loop.add_writer(self._descriptor, self._write)
            self._is_watched = True
        except PermissionError:  # a file or /dev/null never makes a writer wait, and cannot be polled
            while self._waiting:
                self._write(len(self._waiting))

    async def below(self, size: int) -> None:
        """Wait until at most `size` bytes wait, or nobody reads any more; raises OutputError if none can be written."""
        while len(self._waiting) > size:
            self._moved.clear()
            await self._moved.wait()
        self._check()

    async def gone(self) -> None:
        """Wait until nobody reads any more; raises OutputError if lines cannot be written for another reason."""
        await self._failed.wait()
        self._check()

    def _check(self) -> None:
        if self._problem is not None and not isinstance(self._problem, BrokenPipeError):
            raise OutputError(self._problem.strerror or str(self._problem))

    def _write(self, size: int = CHUNK_BYTES) -> None:
        try:
            written = os.write(self._descriptor, self._waiting[:size])
        except BlockingIOError:  # somebody put it into non-blocking mode
            return
        except OSError as error:
            self._problem = error
            self._failed.set()
            written = len(self._waiting)
        del self._waiting[:written]
        self._moved.set()
        if not self._waiting and self._is_watched:
            self._loop.remove_writer(self._descriptor)
            self._is_watched = False

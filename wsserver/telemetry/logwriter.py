"""Standard error for a server: lines are taken without waiting, and a thread writes them (design section 7).

A terminal that stands still, a pipe that nobody reads or a disk that hangs then holds up the thread alone.
"""

from __future__ import annotations

import io
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

MAX_QUEUED_BYTES: Final = 1 << 20
MAX_BATCH_BYTES: Final = 1 << 16  # what goes out in one write
_OVERHEAD_BYTES: Final = 64  # what a queued line takes beside its text
_NOT_READ: Final = "the log is written faster than it is read"


class LogWriter(io.TextIOBase):
    """A text stream onto a file descriptor that never blocks and never raises; what it cannot keep it counts.

    Whole lines wait, up to `limit_bytes`; the newest ones are dropped. Where lines are missing, a line says how many
    and why: `notice` renders it. `dropped` counts them since the start.
    """

    def __init__(self, descriptor: int, *, encoding: str = "utf-8", limit_bytes: int = MAX_QUEUED_BYTES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._limit_bytes = limit_bytes
        self.notice: Callable[[int, str], str] = "{} lines are missing here: {}".format
        self.dropped = 0
        # Reentrant: the garbage collector may run within write(), and what it finds may warn on standard error.
        self._lock = threading.RLock()
        self._partial = ""
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._queued_bytes = 0
        self._left_out = 0  # lines that found no room since the last one that did
        self._unwritten = 0  # lines that failed since the last write that did not, and why; the thread's own
        self._problem = ""
        self._torn = False  # whether the last write ended in the middle of a line
        self._has_thread = True
        threading.Thread(target=self._run, name="wsctl-log", daemon=True).start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

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
        """Take a text; its whole lines are written soon, the rest once it ends."""
        with self._lock:
            lines, end, self._partial = (self._partial + text).rpartition("\n")
            if end:
                self._put(lines + end)
            elif len(self._partial) > self._limit_bytes:
                self._put(self._partial + "\n")
                self._partial = ""
        return len(text)

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was taken is written or dropped, at most `timeout_s`; returns whether it is."""
        done = threading.Event()
        with self._lock:
            if self._partial:
                self.write("\n")
            if self._left_out:
                self._put_notice()
        self._queue.put(done)
        return done.wait(timeout_s)

    def _put(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        size = len(data) + _OVERHEAD_BYTES
        if not self._has_thread:
            self._write_out(data)
        elif self._queued_bytes + size > self._limit_bytes:
            lines = data.count(b"\n")
            self._left_out += lines
            self.dropped += lines
        else:
            if self._left_out:
                self._put_notice()
            self._queued_bytes += size
            self._queue.put(data)

    def _put_notice(self) -> None:
        data = self._notice(self._left_out, _NOT_READ)
        self._left_out = 0
        self._queued_bytes += len(data) + _OVERHEAD_BYTES
        self._queue.put(data)

    def _notice(self, lines: int, problem: str) -> bytes:
        return f"{self.notice(lines, problem)}\n".encode(self._encoding, "backslashreplace")

    def _run(self) -> None:
        while True:
            entry: bytes | threading.Event | None = self._queue.get()
            batch: list[bytes] = []
            size = 0
            while isinstance(entry, bytes):
                batch.append(entry)
                size += len(entry)
                entry = None
                if size < MAX_BATCH_BYTES:
                    with suppress(Empty):
                        entry = self._queue.get_nowait()
            if batch:
                self._write_out(b"".join(batch))
                with self._lock:
                    self._queued_bytes -= size + len(batch) * _OVERHEAD_BYTES
            if entry is not None:
                entry.set()

    def _write_out(self, data: bytes) -> None:
        """Write lines, after a word on those that could not be written before; or count them."""
        told = self._notice(self._unwritten, self._problem) if self._unwritten else b""
        rest = memoryview((b"\n" if self._torn else b"") + told + data)
        try:
            while rest:
                try:
                    written = os.write(self._descriptor, rest)
                except BlockingIOError:  # whoever shares the descriptor made it so
                    select.select((), (self._descriptor,), ())
                    continue
                self._torn = rest[written - 1] != ord("\n")
                rest = rest[written:]
        except (OSError, ValueError) as error:  # a full disk, a reader that went, a descriptor that was closed
            lost = bytes(rest[-len(data) :]).count(b"\n")
            # Once the word on earlier ones is out, only what came after it is still untold.
            self._unwritten = lost if len(rest) <= len(data) else self._unwritten + lost
            self._problem = getattr(error, "strerror", None) or str(error)
            with self._lock:
                self.dropped += lost
        else:
            self._unwritten = 0

    def _after_fork(self) -> None:
        # The thread stayed in the parent, and the lock may be held for ever.
        self._lock = threading.RLock()
        self._has_thread = False

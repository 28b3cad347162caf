"""Standard input as lines, read without blocking the event loop or leaving a thread behind."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from typing import Final

MAX_LINE_BYTES: Final = 64 << 20


async def stdin_lines() -> AsyncIterator[str]:
    """Yield the lines of standard input without their ends; invalid UTF-8 is replaced."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        # A file or /dev/null never makes a reader wait, and cannot be polled.
        for line in sys.stdin.buffer:
            yield line.decode(errors="replace").rstrip("\r\n")
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(MAX_LINE_BYTES)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            yield line.decode(errors="replace").rstrip("\r\n")
    finally:
        transport.close()

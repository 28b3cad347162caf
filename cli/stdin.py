"""Standard input: whole, or as lines, read without blocking the event loop or leaving a thread behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from wscore.errors import ConfigError
from wscore.units import format_size

MAX_LINE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 16


def is_terminal() -> bool:
    """Tell whether somebody types; Python has no `sys.stdin` at all when it is closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_stdin(max_bytes: int) -> bytes:
    """Return all of standard input; raises ConfigError when that is more than `max_bytes`, or when it is closed."""
    if sys.stdin is None:
        raise ConfigError("standard input", "is closed")
    content = sys.stdin.buffer.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigError("standard input", f"is larger than {format_size(max_bytes)}")
    return content


async def stdin_lines() -> AsyncIterator[str]:
    """Yield the lines of standard input without their ends; invalid UTF-8 is replaced.

    Raises ConfigError for a line of more than 64 MiB.
    """
    if sys.stdin is None:
        return
    buffer = bytearray()
    while chunk := await _read(sys.stdin.fileno()):
        searched = len(buffer)
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            yield _text(buffer[:end])
            del buffer[: end + 1]
            searched = 0
        if len(buffer) > MAX_LINE_BYTES:
            raise ConfigError("standard input", "a line is longer than 64 MiB")
    if buffer:
        yield _text(buffer)


async def _read(descriptor: int) -> bytes:
    """Return what is there as soon as something is; empty at the end.

    The descriptor stays in blocking mode: a terminal shares that mode with its output and with the shell.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a file or /dev/null never makes a reader wait, and cannot be polled
        return os.read(descriptor, _CHUNK_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _CHUNK_BYTES)


def _text(line: bytearray) -> str:
    return line.decode(errors="replace").removesuffix("\r")

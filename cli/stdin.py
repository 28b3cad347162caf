"""Standard input: whole, or as lines, read without blocking the event loop or leaving a thread behind."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from wscore.errors import ConfigError
from wscore.units import format_size

MAX_LINE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 16
_MARKS: Final = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


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
    """Yield the lines of standard input without their ends: UTF-8, or UTF-16 that says so at its start.

    What is invalid is replaced, a mark of the byte order left out. Raises ConfigError for a line of more than 64 MiB,
    and for UTF-16 without a mark.
    """
    if sys.stdin is None:
        return
    buffer, recode = bytearray(), _Recoding()
    while True:
        chunk = await _read(sys.stdin.fileno())
        searched = len(buffer)
        buffer += recode(chunk)
        while (end := buffer.find(b"\n", searched)) >= 0:
            yield _text(buffer[:end])
            del buffer[: end + 1]
            searched = 0
        if not chunk:
            break
        if len(buffer) > MAX_LINE_BYTES:
            raise ConfigError("standard input", "a line is longer than 64 MiB")
    if buffer:
        yield _text(buffer)


class _Recoding:
    """Makes UTF-8 of what begins with a byte order mark, in chunks of any size; anything else stays as it is."""

    __slots__ = ("_decoder", "_start")

    def __init__(self) -> None:
        self._start: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def __call__(self, chunk: bytes) -> bytes:
        """Return the next bytes as UTF-8; an empty chunk is the end. Raises ConfigError for UTF-16 without a mark."""
        is_end = not chunk
        if self._start is not None:
            chunk = self._start + chunk
            if not is_end and any(mark != chunk and mark.startswith(chunk) for mark in _MARKS):
                self._start = chunk
                return b""
            self._start = None
            mark = next((mark for mark in _MARKS if chunk.startswith(mark)), b"")
            chunk = chunk[len(mark) :]
            if mark and mark != codecs.BOM_UTF8:
                self._decoder = codecs.getincrementaldecoder(_MARKS[mark])("replace")
            elif (unmarked := _unmarked(chunk)) is not None:
                mend = f"convert it: iconv -f {unmarked} -t UTF-8"
                raise ConfigError("standard input, line 1", f"looks like {unmarked} without a byte order mark", mend)
        return chunk if self._decoder is None else self._decoder.decode(chunk, is_end).encode(errors="replace")


def _unmarked(start: bytes) -> str | None:
    """Return which UTF-16 a text begins like: two characters of ASCII, each with its zero byte."""
    zeros = "".join("0" if byte == 0 else "x" for byte in start[:4])
    return {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE"}.get(zeros)


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

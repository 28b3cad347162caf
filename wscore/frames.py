"""Server-side WebSocket frames, built once and sent to many (RFC 6455 section 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_FIN: Final = 0x80
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PONG: Final = 0xA
_TEXT_FIN: Final = _FIN | TEXT


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame around UTF-8 `payload`."""
    # Written out, since each message of the server goes through here.
    size = len(payload)
    if size < 126:
        return bytes((_TEXT_FIN, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, final binary frame."""
    return frame_header(_FIN | BINARY, len(payload)) + payload


def close_frame(payload: bytes) -> bytes:
    """Return one close frame; `payload` is empty, or the code in two bytes and a reason (section 5.5.1)."""
    return frame_header(_FIN | CLOSE, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return one pong frame; `payload` is that of the ping (section 5.5.3)."""
    return frame_header(_FIN | PONG, len(payload)) + payload


def close_payload(code: int, reason: str) -> bytes:
    """Return what a close frame carries; the reason must fit, 123 bytes at most."""
    return code.to_bytes(2, "big") + reason.encode()


def frame_header(first: int, size: int) -> bytes:
    """Return the header of an unmasked frame of `size` bytes; `first` is its first byte, flags and opcode."""
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")


def unframed(frames: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the first byte and the payload of each of the whole, unmasked frames."""
    view = memoryview(frames)
    start = 0
    while start < len(view):
        first, size = view[start], view[start + 1]
        start += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(view[start : start + width], "big")
            start += width
        yield first, view[start : start + size]
        start += size

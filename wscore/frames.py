"""Server-side WebSocket frames, built once and sent to many (RFC 6455 section 5.2)."""

from __future__ import annotations

_TEXT_FIN = 0x81


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame around UTF-8 `payload`."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT_FIN, size)) + payload
    if size < 1 << 16:
        return bytes((_TEXT_FIN, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT_FIN, 127)) + size.to_bytes(8, "big") + payload

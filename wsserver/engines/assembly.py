"""From frames to messages: fragments, UTF-8 and size rules that both engines share (RFC 6455 section 5.4)."""

from __future__ import annotations

from typing import Final

from wscore.codes import CloseCode
from wscore.errors import WsctlError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2

# A message in more pieces than this is an attack on memory or time, whatever its size.
MAX_FRAGMENTS: Final = 1024


class FrameError(WsctlError):
    """The peer broke the protocol; `code` and `reason` go into the close frame."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code.value}: {self.reason}"


def check_text(payload: bytes) -> None:
    """Raise FrameError(1007) unless `payload` is UTF-8 (RFC 6455 section 8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.INVALID_DATA, "text is not UTF-8") from None


class Assembler:
    """Joins the fragments of one connection's messages; whole messages never come here."""

    __slots__ = ("_fragments", "_max_bytes", "_opcode", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._fragments: list[bytes] = []
        self._opcode = CONTINUATION
        self._size = 0

    @property
    def in_progress(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._opcode != CONTINUATION

    def add(self, opcode: int, fin: bool, payload: bytes) -> tuple[int, bytes] | None:
        """Take one data frame; returns (opcode, message) when it completes one.

        Raises FrameError: 1002 for a fragment out of place, 1009 for too many bytes or fragments, 1007 for
        text that is not UTF-8.
        """
        if (opcode == CONTINUATION) != self.in_progress:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "fragment out of sequence")
        self._size += len(payload)
        if self._size > self._max_bytes:
            raise FrameError(CloseCode.TOO_BIG, f"message over {self._max_bytes} bytes")
        if not self.in_progress:
            self._opcode = opcode
        self._fragments.append(payload)
        if not fin:
            if len(self._fragments) >= MAX_FRAGMENTS:
                raise FrameError(CloseCode.TOO_BIG, f"message in over {MAX_FRAGMENTS} fragments")
            return None
        message_opcode, message = self._opcode, b"".join(self._fragments)
        self._fragments.clear()
        self._opcode, self._size = CONTINUATION, 0
        if message_opcode == TEXT:
            check_text(message)
        return message_opcode, message

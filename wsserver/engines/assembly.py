"""From frames to messages: fragments, UTF-8 and size rules that both engines share (RFC 6455 section 5.4)."""

from __future__ import annotations

from typing import Final

from wscore.disconnects import INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR, DisconnectError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2

# Fragments cost time and no memory, so what is allowed grows with the size that a message may have: pieces that are
# smaller than this on average, empty ones too, are an attack. A few of them may be as small as they like.
MIN_MEAN_FRAGMENT_BYTES: Final = 64
FEW_FRAGMENTS: Final = 1024


def max_fragments(max_bytes: int) -> int:
    """Return in how many fragments a message may come where it may have `max_bytes`."""
    return max(FEW_FRAGMENTS, max_bytes // MIN_MEAN_FRAGMENT_BYTES)


def check_text(payload: bytes) -> None:
    """Raise DisconnectError (INVALID_UTF8) unless `payload` is UTF-8 (RFC 6455 section 8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise DisconnectError(INVALID_UTF8) from None


class Assembler:
    """Joins the fragments of one connection's messages; whole messages never come here."""

    __slots__ = ("_count", "_max_bytes", "_max_fragments", "_message", "_opcode")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_fragments = max_fragments(max_bytes)
        self._message = bytearray()
        self._count = 0
        self._opcode = CONTINUATION

    @property
    def in_progress(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._opcode != CONTINUATION

    @property
    def size(self) -> int:
        """How many bytes of a message it keeps."""
        return len(self._message)

    def add(self, opcode: int, fin: bool, payload: bytes) -> tuple[int, bytes] | None:
        """Take one data frame; returns (opcode, message) when it completes one.

        Raises DisconnectError: PROTOCOL_ERROR for a fragment out of place, MESSAGE_TOO_BIG for too many bytes or
        fragments, INVALID_UTF8 for text that is none.
        """
        if (opcode == CONTINUATION) != self.in_progress:
            raise DisconnectError(PROTOCOL_ERROR, "fragment out of sequence")
        if len(self._message) + len(payload) > self._max_bytes:
            raise DisconnectError(MESSAGE_TOO_BIG, f"message over {self._max_bytes} bytes")
        if not self.in_progress:
            self._opcode = opcode
        self._message += payload
        self._count += 1
        if not fin:
            if self._count >= self._max_fragments:
                raise DisconnectError(MESSAGE_TOO_BIG, f"message in over {self._max_fragments} fragments")
            return None
        message_opcode, message = self._opcode, bytes(self._message)
        self._message.clear()
        self._opcode, self._count = CONTINUATION, 0
        if message_opcode == TEXT:
            check_text(message)
        return message_opcode, message

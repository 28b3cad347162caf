"""What is written and searched of a frame: its text, or for a binary one its bytes as hex."""

from __future__ import annotations

from typing import Final

from wscore.foreign import Frame

MAX_HEX_BYTES: Final = 16 << 10  # of a larger frame nobody reads more


def text_of_frame(frame: Frame) -> tuple[str, bytes | None]:
    """Return the text of a frame, and its bytes if it is binary; the text is the start of them as hex then."""
    if isinstance(frame, str):
        return frame, None
    more = "" if len(frame) <= MAX_HEX_BYTES else f" … {len(frame):,} bytes"
    return frame[:MAX_HEX_BYTES].hex(" ") + more, frame

"""Envelopes framed in one go: what is done once for a batch is not done once for each message (design section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wscore.envelope import with_seq
from wscore.frames import text_frame

# The headers of payloads by their size: looked up, since to make one costs as much as to copy the payload.
_HEADERS: Final = tuple(text_frame(bytes(size))[:-size] if size else text_frame(b"") for size in range(1024))
_SPLICED_BYTES: Final = len(b',"seq":')


def framed(envelopes: Sequence[bytes], first_seq: int = 0) -> bytes:
    """Return serialized envelopes as text frames, one behind the other.

    If there is a `first_seq` they get that `seq` and those that follow, see `with_seq`.
    """
    try:
        return _numbered(envelopes, first_seq) if first_seq else _plain(envelopes)
    except IndexError:  # one is larger than the usual
        return b"".join(map(text_frame, numbered(envelopes, first_seq) if first_seq else envelopes))


def numbered(envelopes: Sequence[bytes], first_seq: int) -> list[bytes]:
    """Return serialized envelopes with `seq` from `first_seq` on."""
    return [with_seq(envelope, seq) for seq, envelope in enumerate(envelopes, first_seq)]


def _plain(envelopes: Sequence[bytes]) -> bytes:
    parts = [b""] * (2 * len(envelopes))
    parts[::2] = [_HEADERS[size] for size in map(len, envelopes)]
    parts[1::2] = envelopes
    return b"".join(parts)


def _numbered(envelopes: Sequence[bytes], first_seq: int) -> bytes:
    digits = len(str(first_seq))
    if digits != len(str(first_seq + len(envelopes) - 1)):
        return b"".join(map(text_frame, numbered(envelopes, first_seq)))
    more = _SPLICED_BYTES + digits
    return b"".join(
        [
            b'%b%b,"seq":%d}' % (_HEADERS[len(envelope) + more], envelope[:-1], seq)
            for seq, envelope in enumerate(envelopes, first_seq)
        ]
    )
